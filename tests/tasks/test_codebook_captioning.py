"""The captioner trained by a run config, whole but tiny."""

import json
import logging

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from threaded_ranks import ThreadedRanks

from lavis_tldr.datasets.caption_pairs import CaptionPairsBuilder
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.wordpiece_training import SPECIAL_TOKENS
from lavis_tldr.scenes import draw_clean_set, draw_scenes
from lavis_tldr.tasks import captioner_start, codebook_captioning, feature_filling
from lavis_tldr.tasks.captioner_start import allow_tokens_of, ensure_vocabulary, start_codebook
from lavis_tldr.train import run

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """60 noisy pairs in tars, one with a damaged image and one without a caption, and 8 clean images to validate on."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_scenes(folder / "noisy", num_samples=60, part_size=30, broken=0.02, empty_captions=0.02, image_size=32)
    draw_clean_set(folder / "clean", num_samples=16, dev_share=0.5, image_size=32)
    return folder


def write_config(drawn, folder, **changes):
    processor = {"image_size": 32}
    config = {
        "model": {
            "arch": "codebook_captioner",
            "model_type": "tiny",
            "image_size": 32,
            "vit_width": 32,
            "text_width": 32,
            "text_depth": 1,
            "num_codes": 32,
        },
        "datasets": {
            "tldr_captions": {
                "train": {"format": "webdataset", "tars": str(drawn / "noisy/*.tar")},
                "val": {
                    "format": "lavis_json",
                    "annotations": str(drawn / "clean/dev.json"),
                    "image_root": str(drawn / "clean/images"),
                },
                "vis_processor": {"train": processor, "eval": processor},
            }
        },
        "run": {
            "task": "codebook_captioning",
            "runner": "runner_cpu",
            "device": "cpu",
            "lr_sched": "linear_warmup_cosine_lr",
            "init_lr": 1e-3,
            "min_lr": 1e-5,
            "warmup_steps": 0,
            "weight_decay": 0.05,
            "max_epoch": 2,
            "batch_size_train": 8,
            "batch_size_eval": 8,
            "num_workers": 0,
            "seed": 42,
            "vocab_size": 200,
            "max_len": 12,
            "output_dir": str(folder / "output"),
            "job_id": "job",
            "train_splits": ["train"],
            "valid_splits": ["val"],
            "test_splits": [],
        },
    }
    path = folder / "run.yaml"
    OmegaConf.save(OmegaConf.merge(config, changes), path)
    return path


def log_lines(folder) -> list[dict]:
    text = (folder / "output/job/log.txt").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"train') or line.startswith('{"val')]


@pytest.mark.parametrize("cached", [False, True])
def test_a_run_from_captions_to_checkpoint(drawn, tmp_path, cached):
    cache = {"datasets": {"tldr_captions": {"feature_cache": str(tmp_path / "cache")}}} if cached else {}
    save = {"run": {"save_frozen": True, "test_splits": ["val"]}}  # the encoder starts random, so it must be kept
    runner = run(write_config(drawn, tmp_path, **OmegaConf.to_container(OmegaConf.merge(cache, save))))
    lines = log_lines(tmp_path)
    train = [line for line in lines if "train_loss" in line]
    val = [line for line in lines if "val_cider" in line]
    assert len(train) == len(val) == 2
    for line in train:
        assert 1 <= line["train_perplexity"] <= 32
        assert 0 <= line["train_dead_codes"] < 32
        assert float(line["train_loss_lm"]) > 0 and float(line["train_loss_commitment"]) >= 0
    assert float(train[1]["train_loss_lm"]) < float(train[0]["train_loss_lm"])
    for line in val:
        assert line["val_agg_metrics"] == line["val_cider"]
        assert {"val_bleu4", "val_distinct", "val_codebook_perplexity", "val_codebook_dead_codes"} <= set(line)

    captions = json.loads((tmp_path / "output/job/result/val_epoch1.json").read_text())
    assert len(captions) == 8 and all(len(row["references"]) == 5 for row in captions)
    assert [len(p.split()) > 0 for p in (row["caption"] for row in captions)] == [True] * 8

    model = runner.unwrap_dist_model(runner.model).eval()
    assert len(model.code_names) == 32 and model.codebook_started
    best = tmp_path / "output/job/checkpoint_best.pth"
    assert torch.load(best, weights_only=True)["model"]["quantizer.codebook"].shape == (32, 32)
    cfg = OmegaConf.load(CodebookCaptioner.PRETRAINED_MODEL_CONFIG_DICT["tiny"]).model
    own = {"load_finetuned": True, "finetuned": str(best)}
    own = OmegaConf.merge(cfg, OmegaConf.load(tmp_path / "run.yaml").model, own)
    again = CodebookCaptioner.from_config(own).eval()
    samples = {"image": torch.randn(4, 3, 32, 32)}
    # The runner, which tests last, holds the best weights, too.
    assert torch.equal(again.encode_images(samples).codes, model.encode_images(samples).codes)
    assert again.generate(samples) == model.generate(samples)
    if cached:
        keys = [key for path in (tmp_path / "cache").glob("*.json") for key in json.loads(path.read_text())]
        truth = json.loads((drawn / "noisy/truth.json").read_text())
        usable = [key for key, fact in truth.items() if not fact["broken"] and not fact["empty"]]
        assert len(keys) == len(set(keys)) == len(usable) + 8
        # Fine-tuning from the checkpoint, which brings the same encoder, finds its features there.
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npy")}
        changes = {**cache, "model": {"pretrained": str(best)}, "run": {"max_epoch": 1, "job_id": "second"}}
        second = run(write_config(drawn, tmp_path, **changes))
        assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npy")}
        assert second.unwrap_dist_model(second.model).tokenizer.vocabulary == model.tokenizer.vocabulary


def test_frozen_codes_are_quantized_once(drawn, tmp_path, monkeypatch):
    """Training on what is kept of images is training on their features, but for the commitment that nothing learns."""
    losses, codebooks = [], []
    for once in (True, False):
        if not once:
            monkeypatch.setattr(codebook_captioning, "quantize_cached", lambda *_: None)
        folder = tmp_path / str(once)
        folder.mkdir()
        changes = {
            "model": {"freeze_codes": True},
            "datasets": {"tldr_captions": {"feature_cache": str(tmp_path / "cache")}},
        }
        model = run(write_config(drawn, folder, **changes)).model
        losses.append([float(line["train_loss_lm"]) for line in log_lines(folder) if "train_loss_lm" in line])
        codebooks.append(model.quantizer.codebook.clone())
        seen = [line["train_perplexity"] for line in log_lines(folder) if "train_perplexity" in line]
        assert len(seen) == 2 and all(1 <= value <= 32 for value in seen)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert torch.equal(*codebooks)


def test_features_of_another_encoder_are_refused(drawn, tmp_path):
    cache = {"datasets": {"tldr_captions": {"feature_cache": str(tmp_path / "cache")}}}
    short = {"max_epoch": 1, "valid_splits": []}
    run(write_config(drawn, tmp_path, run={**short, "job_id": "first"}, **cache))
    with pytest.raises(ValueError, match="features of another encoder"):
        run(write_config(drawn, tmp_path, run={**short, "seed": 43, "job_id": "second"}, **cache))


@pytest.mark.parametrize("emulated", [True, False])
def test_features_are_cached_in_bfloat16_unless_the_processor_emulates_it(drawn, tmp_path, monkeypatch, emulated):
    asked, encode = [], feature_filling.encode_images

    def watched(*args, bf16, **options):
        asked.append(bf16)
        return encode(*args, bf16=bf16, **options)

    monkeypatch.setattr(feature_filling, "encode_images", watched)
    monkeypatch.setattr(feature_filling, "emulates_bfloat16", lambda: emulated)
    cache = {"datasets": {"tldr_captions": {"feature_cache": str(tmp_path / "cache")}}}
    run(write_config(drawn, tmp_path, run={"max_epoch": 1, "valid_splits": []}, **cache))
    assert asked and set(asked) == {not emulated}


def test_a_cache_for_two_images_of_one_key_is_refused(drawn, tmp_path):
    other = draw_scenes(tmp_path / "other", num_samples=12, part_size=12, seed=1, image_size=32)
    assert other
    val = {"format": "webdataset", "tars": str(tmp_path / "other/*.tar")}
    path = write_config(drawn, tmp_path, datasets={"tldr_captions": {"feature_cache": str(tmp_path / "cache")}})
    config = OmegaConf.load(path)
    config.datasets.tldr_captions.val = val
    OmegaConf.save(config, path)
    with pytest.raises(ValueError, match="image key '00000....' stands for .*noisy.*other.*key_prefix"):
        run(path)


def test_without_a_codebook_and_with_several_captions(drawn, tmp_path):
    clean = {
        "format": "lavis_json",
        "annotations": str(drawn / "clean/finetune.json"),
        "image_root": str(drawn / "clean/images"),
    }
    changes = {
        "model": {"quantize": False},
        "datasets": {"tldr_captions": {"captions_per_image": 3}},
        "run": {"max_epoch": 1, "batch_size_train": 4, "num_beams": 2},
    }
    path = write_config(drawn, tmp_path, **changes)
    config = OmegaConf.load(path)
    config.datasets.tldr_captions.train = clean
    OmegaConf.save(config, path)
    run(path)
    train, val = log_lines(tmp_path)
    assert "train_perplexity" not in train and "val_codebook_perplexity" not in val
    assert np.isfinite(float(train["train_loss_lm"])) and val["val_cider"] >= 0


def test_a_collapsed_codebook_is_reported(drawn, tmp_path, caplog):
    model = {"num_codes": 60, "codebook_init": "xavier", "code_decay": None, "normalize_codes": False}
    # Codes that start far from all features: one is nearest to every one of them.
    path = write_config(drawn, tmp_path, model=model, run={"max_epoch": 1, "valid_splits": [], "init_lr": 1e-9})
    with caplog.at_level(logging.WARNING), pytest.MonkeyPatch.context() as patch:
        patch.setattr("lavis_tldr.tasks.codebook_captioning.start_codebook", put_codes_far_away)
        run(path)
    assert "The codebook has collapsed: perplexity 1.0 of 60 codes" in caplog.text
    assert "model.codebook_init" in caplog.text


def put_codes_far_away(model, *args):
    codes = torch.full_like(model.quantizer.codebook, 1000.0)
    codes[0] = 100.0
    model.quantizer.set_codes(codes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"num_codes": 5000}}, r"fewer than the 5000 codes.*model.num_codes"),
        ({"model": {"num_codes": 5000, "codebook_init": "kmeans"}}, "patch features, fewer than model.num_codes 5000"),
        ({"model": {"codebook_init": "kmean"}}, "codebook_init is 'kmean'; expected keywords, kmeans or xavier"),
        ({"model": {"keywords_file": "absent.txt"}}, "model.keywords_file: there is no file absent.txt"),
        (
            {"model": {"freeze_vit": False}, "datasets": {"tldr_captions": {"feature_cache": "cache"}}},
            "feature_cache needs model.freeze_vit: True",
        ),
        ({"run": {"num_beam": 3}}, "num_beam.*did you mean 'num_beams'"),
        ({"run": {"min_len": 30}}, "min_length < max_length"),
    ],
)
def test_bad_configs_say_what_to_do(drawn, tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        run(write_config(drawn, tmp_path, **changes))


def test_too_few_keywords_in_a_file(drawn, tmp_path):
    path = tmp_path / "keywords.txt"
    path.write_text("kite\nsea\n\nkite\n")
    with pytest.raises(ValueError, match="keywords.txt holds 2 keywords, fewer than model.num_codes 32"):
        run(write_config(drawn, tmp_path, model={"keywords_file": str(path)}))


@pytest.mark.parametrize("kind", ["kmeans", "xavier"])
def test_other_starts(drawn, tmp_path, kind):
    changes = {"model": {"codebook_init": kind}, "run": {"max_epoch": 1, "valid_splits": []}}
    runner = run(write_config(drawn, tmp_path, **changes))
    model = runner.unwrap_dist_model(runner.model)
    assert model.codebook_started and model.code_names == []


def test_starting_codes_spreads_them_over_the_features(drawn, tmp_path):
    runner = run(write_config(drawn, tmp_path, run={"max_epoch": 1, "valid_splits": []}))
    (line,) = log_lines(tmp_path)
    assert line["train_perplexity"] > 0.3 * 32
    assert runner.unwrap_dist_model(runner.model).quantizer.codebook.device.type == "cpu"


def test_a_vocabulary_at_hand_is_left_alone(tmp_path):
    class NoCaptions:
        def captions(self):
            raise AssertionError("not needed")

    for own in ({"vocabulary": "v.txt"}, {"text_weights": "bert"}, {"load_finetuned": True, "finetuned": "a.pth"}):
        empty = {"text_weights": None, "vocabulary": None, "pretrained": None, "load_finetuned": False}
        cfg = OmegaConf.create({**empty, **own})
        ensure_vocabulary(cfg, NoCaptions(), tmp_path, 100, 0)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def parts_of_a_run(drawn, tmp_path):
    """Model and training set of the drawn run, its codebook not started: made anew by each call."""

    def make() -> tuple:
        config = OmegaConf.load(write_config(drawn, tmp_path, model={"vocabulary": str(vocabulary)}))
        default = OmegaConf.load(CodebookCaptioner.default_config_path("tiny")).model
        torch.manual_seed(0)
        model = CodebookCaptioner.from_config(OmegaConf.merge(default, config.model))
        return model, OmegaConf.merge(default, config.model), train_set

    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join([*SPECIAL_TOKENS, *LETTERS, *map("##{}".format, LETTERS)]))
    default = OmegaConf.load(CaptionPairsBuilder.DATASET_CONFIG_DICT["default"]).datasets.tldr_captions
    own = OmegaConf.load(write_config(drawn, tmp_path)).datasets.tldr_captions
    train_set = CaptionPairsBuilder(OmegaConf.merge(default, own)).build()["train"]
    return make


def test_ranks_tokenize_their_share_and_start_from_the_codes_of_the_first(parts_of_a_run, monkeypatch):
    def start(rank: int) -> tuple:
        model, cfg, train_set = made[rank]
        allow_tokens_of(model, train_set)
        start_codebook(model, cfg, train_set, "cpu", seed=0)
        return model.output_tokens, model.code_names, model.quantizer.state_dict()

    made = [parts_of_a_run()]
    ranks = ThreadedRanks(1)
    ranks.stand_in(monkeypatch, captioner_start)
    (alone,) = ranks.run(start)
    ranks, encoded = ThreadedRanks(2), []
    ranks.stand_in(monkeypatch, captioner_start)
    monkeypatch.setattr(captioner_start, "_CAPTIONS_AT_ONCE", 10)
    made = [parts_of_a_run() for _ in range(2)]
    for model, *_ in made:
        monkeypatch.setattr(model, "image_tokens", lambda batch, f=model.image_tokens: encoded.append(1) or f(batch))
    found = ranks.run(start)
    assert len(encoded) == 2  # for the mean and for the codes, by one of them
    assert found[0][:2] == found[1][:2] == alone[:2] and len(alone[0]) > 10
    for name in alone[2]:
        assert torch.equal(found[0][2][name], found[1][2][name]), name
