"""The task tldr_retrieval_eval by every architecture, against LAVIS's own figures; `test_evaluation_ranks` has two."""

import json
from types import SimpleNamespace

import clips
import numpy as np
import pytest
import torch
from evaluation_sets import Album, album_loader
from lavis.common.registry import registry
from lavis.datasets.datasets.retrieval_datasets import RetrievalEvalDataset
from lavis.models.albef_models import compute_sim_matrix
from lavis.models.clip_models.model import CLIP
from lavis.processors.blip_processors import BlipCaptionProcessor, BlipImageEvalProcessor
from lavis.tasks.base_task import BaseTask
from lavis.tasks.retrieval import RetrievalTask
from omegaconf import OmegaConf
from tiny_blip import build_tiny, register_tiny
from torch.utils.data import DataLoader, DistributedSampler
from vilts import save, tiny_vilt

from lavis_tldr.models.scorers import scorer_of
from lavis_tldr.tasks.retrieval_evaluation import RetrievalEvaluationTask


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("output_dir", "result_dir"):
        monkeypatch.setitem(registry.mapping["paths"], name, str(tmp_path))
    register_tiny(tmp_path, monkeypatch)
    return tmp_path


@torch.no_grad()
def run(task, model) -> dict:
    return task.after_evaluation(task.evaluation(model.eval(), album_loader()), "test", 0)


@torch.no_grad()
def stock_figures(model, **options) -> dict:
    """LAVIS's task on the scores of LAVIS's function; figures are chosen by its own rule for ties."""
    album = album_loader()
    scores = compute_sim_matrix(model, album, **options) if options else model.compute_sim_matrix(album)
    return RetrievalTask._report_metrics(*scores, album.dataset.txt2img, album.dataset.img2txt)


@pytest.mark.parametrize(("k_test", "places"), [(1, [1]), (3, [1]), (5, [1, 5]), (9, [1, 5])])
def test_blip_has_the_figures_of_lavis(folder, k_test, places):
    """At places within the shortlist: behind it all scores are -100, and LAVIS lets the last of equal ones win."""
    model = build_tiny()
    found, stock = run(RetrievalEvaluationTask(k_test=k_test), model), stock_figures(model, k_test=k_test)
    names = [f"{way}_r{place}" for way in ("txt", "img") for place in places]
    assert {name: found[name] for name in names} == pytest.approx({name: stock[name] for name in names})


@torch.no_grad()
def test_reranked_scores_are_those_of_lavis(folder):
    """The scores themselves, not only what ranks they give."""
    model = build_tiny()
    of_images, of_texts = compute_sim_matrix(model, album_loader(), k_test=4)
    task = RetrievalEvaluationTask(k_test=4)
    seen = {}
    task_ranks = "lavis_tldr.tasks.retrieval_evaluation.retrieval_ranks"

    def look(images, texts, *_):
        seen.update(images=np.stack(list(images)), texts=np.stack(list(texts)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_ranks, look)
        task.evaluation(model, album_loader())
    np.testing.assert_allclose(seen["images"], of_images, atol=1e-4)
    np.testing.assert_allclose(seen["texts"], of_texts, atol=1e-4)


@pytest.mark.parametrize("kind", ["stock", "two"])
def test_clip_has_the_figures_of_lavis(folder, kind):
    model = clips.stock_clip() if kind == "stock" else clips.tower_clip(folder)
    assert run(RetrievalEvaluationTask(), model) == pytest.approx(stock_figures(model.eval()))


def test_vilt_reads_all_pairs(folder):
    """Against its own matrix, which `test_matrix_holds_each_pairs_own_score` holds against one pair at a time."""
    model = tiny_vilt(folder, "vilt_retrieval").eval()
    found = run(RetrievalEvaluationTask(pairs_per_pass=7), model)
    album = album_loader()
    scores = model.compute_sim_matrix(album)
    assert found == pytest.approx(RetrievalTask._report_metrics(*scores, album.dataset.txt2img, album.dataset.img2txt))


@torch.no_grad()
def test_vilt_with_contrast_shortlists_where_k_test_is_given(folder):
    """By match logit + cosine of a text's best two images by cosine, against its own matrices."""
    model = tiny_vilt(folder, itc_width=16).eval()
    ways = {k: RetrievalEvaluationTask(k_test=k).way_of(scorer_of(model)) for k in (None, 0, 5)}
    assert ways == {None: "pairs", 0: "pairs", 5: "rerank"}
    found = run(RetrievalEvaluationTask(k_test=2), model)
    loading = {"load_pretrained": True, "pretrained": save(model, folder / "contrast.pth")}
    matching = tiny_vilt(folder, "vilt_retrieval", **loading).eval()
    album = album_loader()
    cosines, logits = model.compute_sim_matrix(album)[0], matching.compute_sim_matrix(album)[0]

    def final(cosines, logits):
        listed = np.argsort(-cosines, axis=1)[:, :2]
        scores = np.full_like(cosines, -100)
        np.put_along_axis(scores, listed, np.take_along_axis(cosines + logits, listed, 1), 1)
        return scores

    scores = final(cosines, logits), final(cosines.T, logits.T)
    expected = RetrievalTask._report_metrics(*scores, album.dataset.txt2img, album.dataset.img2txt)
    of_listed = ("txt_r1", "img_r1")  # beyond two places LAVIS breaks ties otherwise
    assert [found[name] for name in of_listed] == pytest.approx([expected[name] for name in of_listed])


def test_ways_by_architecture(folder):
    blip, clip, vilt = (scorer_of(model) for model in (build_tiny(), clips.stock_clip(), tiny_vilt(folder)))
    assert [RetrievalEvaluationTask().way_of(s) for s in (blip, clip, vilt)] == ["rerank", "cosine", "pairs"]
    assert RetrievalEvaluationTask(k_test=0).way_of(blip) == "cosine"
    assert RetrievalEvaluationTask("pairs").way_of(blip) == "pairs"
    for scorer, way in ((clip, "pairs"), (clip, "rerank"), (vilt, "cosine"), (vilt, "rerank")):
        with pytest.raises(ValueError, match=f"score_by is '{way}'; this model can be scored by"):
            RetrievalEvaluationTask(way).way_of(scorer)


def test_k_test_without_both_is_told_once(caplog, monkeypatch):
    monkeypatch.setattr(BaseTask, "build_model", lambda self, cfg: clips.stock_clip())
    task = RetrievalEvaluationTask(k_test=9)
    assert task.way_of(scorer_of(task.build_model(SimpleNamespace(run_cfg=None)))) == "cosine"
    assert caplog.text.count("run.k_test is 9") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score_by": "cosin"}, "run.score_by is 'cosin'"),
        ({"k_test": -1}, "run.k_test is -1"),
        ({"score_by": "rerank", "k_test": 0}, "run.k_test is 0"),
        ({"pairs_per_pass": 0}, "run.pairs_per_pass is 0"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=said):
        RetrievalEvaluationTask(**options)


def test_models_that_can_not_are_refused_at_start():
    cfg = SimpleNamespace(model_cfg=OmegaConf.create({"arch": "blip_caption"}), run_cfg=OmegaConf.create({}))
    with pytest.raises(ValueError, match="BlipCaption does not say how well a text fits an image"):
        RetrievalEvaluationTask.setup_task(cfg)


@torch.no_grad()
def test_a_model_of_nan_is_refused(folder):
    model = clips.stock_clip().eval()
    model.text_projection.fill_(float("nan"))
    with pytest.raises(ValueError, match="numbers of texts are NaN"):
        RetrievalEvaluationTask().evaluation(model, album_loader())


def test_a_collapsed_model_is_at_chance(folder):
    """All embeddings the same: of nine images one finds a text of its own first, LAVIS's rule would say otherwise."""
    model = clips.stock_clip().eval()
    model.encode_image = lambda image: torch.ones(len(image), 32)
    model.encode_text = lambda ids: torch.ones(len(ids), 32)
    found = run(RetrievalEvaluationTask(), model)
    assert found["txt_r1"] == pytest.approx(100 / 9)
    assert found["img_r1"] == pytest.approx(100 * 4 / 12)  # the first image's four texts


def test_ranks_are_written(folder):
    run(RetrievalEvaluationTask(), clips.stock_clip())
    written = json.loads((folder / "retrieval_test_epoch0.json").read_text())["ranks"]
    assert (len(written["image_to_text"]), len(written["text_to_image"])) == (9, 12)
    assert json.loads((folder / "evaluate.txt").read_text())["test"]["r_mean"] > 0


@torch.no_grad()
def test_stock_clip_scores_its_share_as_if_it_were_the_set(folder):
    """On two ranks LAVIS gives the first one images 0, 2, 4, 6, 8; its second row is then taken for image 1's."""
    model, album = clips.stock_clip().eval(), Album()
    every, _ = CLIP.compute_sim_matrix(model, album_loader())
    share = DataLoader(album, batch_size=4, sampler=DistributedSampler(album, 2, 0, shuffle=False))
    of_images, of_texts = CLIP.compute_sim_matrix(model, share)
    assert len(of_images) == 5
    np.testing.assert_allclose(of_images[1], every[2], atol=1e-5)
    with pytest.raises(IndexError):  # images 5 to 8, which texts belong to, have no column
        RetrievalTask._report_metrics(of_images, of_texts, album.txt2img, album.img2txt)


def test_sets_of_lavis_are_scored_too(folder, encoded):
    """``coco_retrieval`` and ``flickr30k`` build this one."""
    rows = [{"image": f"{n}.jpg", "caption": ["a kite", f"{n} dogs"][: 1 + n % 2]} for n in range(3)]
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(encoded((80 * n, 9, 99), size=(32, 32)))
    (folder / "test.json").write_text(json.dumps(rows))
    processors = BlipImageEvalProcessor(image_size=32), BlipCaptionProcessor()
    album = RetrievalEvalDataset(*processors, str(folder), [str(folder / "test.json")])
    loader = DataLoader(album, batch_size=2, collate_fn=album.collater)
    task = RetrievalEvaluationTask(k_test=128)
    with torch.no_grad():
        ranks = task.evaluation(build_tiny(), loader)
    assert (len(ranks["txt"]), len(ranks["img"])) == (3, 4)
