"""Finding encoded videos by their captions: clips of one grey each, a scorer that sees grey, and tiny models."""

import json

import clips
import numpy as np
import pytest
import torch
import vilts
from clips_of_grey import write_clip, write_sound
from grey_scorer import PLAIN, GreyScorer
from lavis.common.registry import registry
from lavis.tasks.retrieval import RetrievalTask
from omegaconf import OmegaConf
from tiny_blip import build_tiny, register_tiny

from lavis_tldr import train
from lavis_tldr.datasets.tldr_video_retrieval import VideoRetrievalBuilder
from lavis_tldr.models.scorers import scorer_of
from lavis_tldr.models.scorers.videos import embed_videos, match_video
from lavis_tldr.tasks import video_retrieval
from lavis_tldr.tasks.video_retrieval import VideoRetrievalTask, figures, ranks_of

LEVELS = {"video0": 40, "video1": 90, "video2": 140, "video3": 190, "video4": 240}


@pytest.fixture
def msrvtt(tmp_path):
    (tmp_path / "videos").mkdir()
    for name, level in LEVELS.items():
        write_clip(tmp_path / "videos" / f"{name}.mp4", 5 if name == "video4" else 20, first=level, step=0)
    write(tmp_path, {name: [f"grey {level}"] for name, level in LEVELS.items()})
    return tmp_path


def write(folder, captions) -> None:
    rows = [{"video": f"{name}.mp4", "caption": own} for name, own in captions.items()]
    (folder / "msrvtt_test.json").write_text(json.dumps(rows))


def build(folder, **changes):
    cfg = OmegaConf.load(VideoRetrievalBuilder.DATASET_CONFIG_DICT["default"]).datasets.tldr_video_retrieval
    given = {"path": str(folder), "vis_processor": {"eval": PLAIN}, **changes}
    return VideoRetrievalBuilder(OmegaConf.merge(cfg, given)).build_datasets()["test"]


def evaluate(folder, scorer, patch, task=None, **changes):
    """The task's result and its figures."""
    patch.setattr(video_retrieval, "scorer_of", lambda model: scorer)
    for name in ("output_dir", "result_dir"):
        patch.setitem(registry.mapping["paths"], name, str(folder))
    dataset = build(folder, **changes)
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, collate_fn=dataset.collater)
    task = task or VideoRetrievalTask()
    result = task.evaluation(scorer.model, loader)
    return result, task.after_evaluation(result, "test", 0)


def test_ranks_and_median_by_hand():
    scores = np.array([[0.9, 0.1, 0.2, 0.3], [0.8, 0.5, 0.6, 0.7], [0.1, 0.9, 0.4, 0.3], [0.5, 0.8, 0.7, 0.65]])
    ranks = ranks_of(scores, [0, 1, 2, 3], [0, 1, 2, 3], 4)
    assert ranks.tolist() == [1, 4, 2, 3]
    found = figures(ranks)
    assert (found["vid_r1"], found["vid_r5"], found["vid_mdr"]) == (25, 100, 2.5)
    assert found["agg_metrics"] == pytest.approx((25 + 100 + 100) / 3)


def test_hit_rates_are_those_of_lavis(tmp_path, monkeypatch):
    """Which has no median."""
    monkeypatch.setitem(registry.mapping["paths"], "output_dir", str(tmp_path))  # its figures are written there
    scores, own = np.random.default_rng(1).normal(size=(40, 40)) + 2 * np.eye(40), list(range(40))
    stock = RetrievalTask._report_metrics(scores.T, scores, dict(enumerate(own)), {video: [video] for video in own})
    found = figures(ranks_of(scores, own, own, 40))
    for k in (1, 5, 10):
        assert 20 < found[f"vid_r{k}"] == pytest.approx(stock[f"img_r{k}"])
    assert not [name for name in stock if "mdr" in name.lower()]


def test_texts_of_an_unreadable_video_come_last():
    scores = np.array([[0.9, 0.1], [0.3, 0.2], [0.5, 0.6]])
    assert ranks_of(scores, [0, 2], [0, 1, 2], 3).tolist() == [1, 3, 1]


def test_a_constant_model_is_at_chance_and_a_random_one_near_it():
    own = list(range(400))
    constant = figures(ranks_of(np.zeros((400, 400)), own, own, 400))
    assert (constant["vid_r1"], constant["vid_r10"], constant["vid_mdr"]) == (0.25, 2.5, 200.5)
    noise = figures(ranks_of(np.random.default_rng(0).normal(size=(400, 400)), own, own, 400))
    assert noise["vid_r10"] == pytest.approx(2.5, abs=3 * 100 * (0.025 * 0.975 / 400) ** 0.5)


@pytest.mark.parametrize(
    ("embeds", "matches", "frames", "k_test"),
    [
        (True, False, "joined", None),
        (True, True, "joined", None),
        (True, True, "mean", 2),
        (True, True, "joined", 0),
        (False, True, "joined", None),
        (False, True, "mean", None),
    ],
)
def test_a_model_that_sees_grey_finds_every_video(msrvtt, monkeypatch, embeds, matches, frames, k_test):
    scorer = GreyScorer(embeds=embeds, matches=matches)
    result, found = evaluate(msrvtt, scorer, monkeypatch, VideoRetrievalTask(k_test, frames, per_pass=5))
    assert result["ranks"].tolist() == [1] * 5
    assert (found["vid_r1"], found["vid_mdr"], found["texts"], found["videos_unreadable"]) == (100, 1, 5, 0)
    assert scorer.num_encoded == 5 * 8  # each frame once
    per_pair = 1 if frames == "joined" else 8
    num_pairs = {0: 0, 2: 10, None: 25 if matches else 0}[k_test]
    assert len(scorer.pairs) == num_pairs * per_pair
    assert json.loads((msrvtt / "video_retrieval_test_epoch0.json").read_text()) == {"ranks": [1] * 5}


def test_a_right_video_that_is_no_candidate_is_not_found(msrvtt, monkeypatch):
    scorer = GreyScorer()
    scorer.embed_texts = lambda texts: torch.tensor([[0.0, 1.0]] * len(texts))  # the brightest fits every text best
    result, _ = evaluate(msrvtt, scorer, monkeypatch, VideoRetrievalTask(k_test=2))
    assert result["ranks"].tolist()[3:] == [1, 1]
    assert min(result["ranks"].tolist()[:3]) > 2


def test_videos_that_can_not_be_read_are_told_of_and_count_as_not_found(msrvtt, monkeypatch, caplog):
    videos = msrvtt / "videos"
    write_sound(videos / "video0.mp4")
    (videos / "video1.mp4").write_bytes(b"rotten")
    (videos / "video2.mp4").unlink()
    result, found = evaluate(msrvtt, GreyScorer(), monkeypatch)
    assert result["ranks"].tolist() == [5, 5, 5, 1, 1]
    assert (found["vid_r1"], found["vid_mdr"], found["videos_unreadable"]) == (40, 5, 3)
    listed = json.loads((msrvtt / "unreadable_videos.json").read_text())
    assert list(listed) == ["video0.mp4", "video1.mp4", "video2.mp4"]
    assert (listed["video0.mp4"], listed["video2.mp4"]) == (
        "it has no video, perhaps sound alone",
        "there is no such file",
    )
    assert "video1.mp4: it can't be decoded" in caplog.text
    assert "3 videos can't be read: their texts have the last rank" in caplog.text


def test_no_video_at_all_is_an_error(msrvtt, monkeypatch):
    for path in (msrvtt / "videos").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="none of 5 videos can be read .first: video0.mp4: it can't be decoded"):
        evaluate(msrvtt, GreyScorer(), monkeypatch)
    for path in (msrvtt / "videos").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="none of the 5 videos is in .*set datasets.tldr_video_retrieval.videos"):
        build(msrvtt)


def test_a_score_that_is_no_number_is_an_error(msrvtt, monkeypatch):
    scorer = GreyScorer()
    scorer.match_pairs = lambda images, texts: torch.full((len(texts),), torch.nan)
    with pytest.raises(ValueError, match="match logit of video0.mp4 is no finite number"):
        evaluate(msrvtt, scorer, monkeypatch)


def test_the_same_on_two_ranks_as_on_one(msrvtt, monkeypatch):
    from threaded_ranks import ThreadedRanks

    from lavis_tldr.tasks import gathering, scored_sets

    write(msrvtt, {name: [f"grey {level + 15}", f"grey {level + 30}"] for name, level in LEVELS.items()})
    (msrvtt / "videos" / "video1.mp4").unlink()
    alone, _ = evaluate(msrvtt, GreyScorer(), monkeypatch, VideoRetrievalTask(k_test=3))
    assert alone["ranks"].tolist() == [1, 1, 5, 5, 1, 2, 1, 2, 1, 1]  # grey 170 and 220 are nearer to the next video
    ranks = ThreadedRanks(2)
    for module in (gathering, scored_sets):
        ranks.stand_in(monkeypatch, module)
    dataset, scorers = build(msrvtt), [GreyScorer(), GreyScorer()]

    def own_share(loader, cuda):
        subset = torch.utils.data.Subset(dataset, ranks.share(range(len(dataset))))
        return torch.utils.data.DataLoader(subset, batch_size=2, collate_fn=dataset.collater)

    def work(rank: int) -> list[int]:
        loader = torch.utils.data.DataLoader(dataset, batch_size=2)
        return VideoRetrievalTask(k_test=3).evaluation(rank, loader)["ranks"].tolist()

    monkeypatch.setattr(video_retrieval, "own_share", own_share)
    monkeypatch.setattr(video_retrieval, "scorer_of", scorers.__getitem__)
    assert ranks.run(work) == [alone["ranks"].tolist()] * 2
    assert [scorer.num_encoded for scorer in scorers] == [3 * 8, 8]  # of one rank's two videos one can't be read


@torch.no_grad()
def test_blip_takes_the_mean_before_it_normalises_and_reads_all_frames_at_once(tmp_path, monkeypatch):
    register_tiny(tmp_path, monkeypatch)
    model = build_tiny()
    scorer, frames = scorer_of(model), torch.randn(6, 3, 32, 32)  # 2 videos of 3 frames
    read = scorer.read_images({"image": frames})
    projected = model.vision_proj(read.tokens[:, 0]).view(2, 3, -1).mean(1)
    expected = projected / projected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(embed_videos(scorer, {"image": frames}, read, 3), expected)
    texts = ["a red kite", "dogs", "a boat"]
    found = match_video(scorer, read[3:], texts, "joined", per_pass=2)
    tokens = read.tokens[3:].reshape(1, 3 * 17, -1)
    for logit, text in zip(found, texts, strict=True):
        inputs = model.tokenizer([text], return_tensors="pt")
        inputs.input_ids[:, 0] = model.tokenizer.enc_token_id
        hidden = model.text_encoder(
            inputs.input_ids,
            attention_mask=inputs.attention_mask,
            encoder_hidden_states=tokens,
            encoder_attention_mask=torch.ones(1, 51),
            return_dict=True,
        ).last_hidden_state
        torch.testing.assert_close(logit, model.itm_head(hidden[:, 0])[0, 1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_vilt_by_the_mean_over_frames(tmp_path):
    scorer, frames = scorer_of(vilts.tiny_vilt(tmp_path, "vilt_retrieval").eval()), vilts.pairs(3)["image"]
    read, texts = scorer.read_images({"image": frames}), vilts.CAPTIONS[:2]
    expected = [sum(scorer.match_pairs(read[i : i + 1], [text]).item() for i in range(3)) / 3 for text in texts]
    found = match_video(scorer, read, texts, "mean", per_pass=4)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    joined = match_video(scorer, read, texts, "joined", per_pass=4)
    assert not torch.allclose(joined, found, atol=1e-6)


@torch.no_grad()
def test_clip_normalises_each_frame(tmp_path):
    scorer, frames = scorer_of(clips.stock_clip().eval()), clips.images(4)
    own = scorer.embed_images({"image": frames}).view(2, 2, -1).mean(1)
    found = embed_videos(scorer, {"image": frames}, None, 2)
    torch.testing.assert_close(found, own / own.norm(dim=1, keepdim=True))


def run(folder, model: dict, **run_keys):
    image = {"name": "blip_image_eval", "image_size": 32}
    dataset = {"path": str(folder), "frames": 3, "vis_processor": {"eval": image}}
    config = {
        "model": {"model_type": "tiny", **model},
        "datasets": {"tldr_video_retrieval": dataset},
        "run": {
            "task": "tldr_video_retrieval",
            "device": "cpu",
            "evaluate": True,
            "train_splits": [],
            "test_splits": ["test"],
            "batch_size_train": 1,
            "batch_size_eval": 2,
            "max_epoch": 1,
            "num_workers": 0,
            "output_dir": str(folder / "out"),
            "job_id": "job",
            **run_keys,
        },
    }
    return train.run_config(OmegaConf.create(config))


@pytest.mark.parametrize(
    ("arch", "keys"),
    [
        ("clip_pretrain", {}),
        ("vilt_retrieval", {}),
        ("vilt_retrieval", {"video_frames": "mean"}),
        ("blip_pretrain_tldr", {"k_test": 2}),
    ],
)
def test_each_architecture_from_a_config(msrvtt, arch, keys):
    folder = vilts.write_vocabulary(msrvtt) if arch != "clip_pretrain" else clips.write_vocabulary(msrvtt)
    model = {"arch": arch, "vocabulary": str(folder), **({"image_size": 32} if arch == "clip_pretrain" else {})}
    runner = run(msrvtt, model, **keys)
    found = runner.tested["test"]
    assert found["vid_r5"] == 100 and 1 <= found["vid_mdr"] <= 5
    ranks = json.loads((runner.output_dir / "result" / "video_retrieval_test_epochbest.json").read_text())["ranks"]
    assert len(ranks) == 5


def test_what_can_not_be_is_refused(msrvtt):
    for model, keys, message in (
        ("clip_pretrain", {"video_frames": "join"}, "'join' is unknown .did you mean 'joined'"),
        ("clip_pretrain", {"k_test": -1}, "k_test is -1"),
        ("clip_pretrain", {"pairs_per_pass": 0}, "pairs_per_pass is 0"),
        ("clip_pretrain", {"train_splits": ["train"], "evaluate": False}, "trains nothing"),
        ("codebook_captioner", {}, "does not say how well a text fits"),
    ):
        with pytest.raises(ValueError, match=message):
            run(msrvtt, {"arch": model}, **keys)
    with pytest.raises(ValueError, match="unknown key datasets.tldr_video_retrieval.frame"):
        build(msrvtt, frame=3)
    with pytest.raises(ValueError, match="'middle' is unknown"):
        build(msrvtt, frame_rule="middle")
