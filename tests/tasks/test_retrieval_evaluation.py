"""The task tldr_retrieval_eval, against LAVIS's own figures, by every architecture, on one rank and on two."""

import json
from types import SimpleNamespace

import clips
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from lavis.common.registry import registry
from lavis.models.albef_models import compute_sim_matrix
from lavis.tasks.retrieval import RetrievalTask
from omegaconf import OmegaConf
from tiny_blip import build_tiny, register_tiny
from torch.utils.data import DataLoader, Dataset
from vilts import tiny_vilt

from lavis_tldr.tasks.retrieval_evaluation import RetrievalEvaluationTask

NUM_IMAGES = 9
TEXTS = [f"{a} {b}" for a in ("a kite", "two dogs", "an old house", "the sea") for b in ("up", "in rain", "at night")]
# Uneven: the first image has four texts, the last ones one.
IMAGE_OF = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]


class Album(Dataset):
    """As LAVIS's RetrievalEvalDataset."""

    def __init__(self):
        self.image = list(range(NUM_IMAGES))
        self.pixels = torch.randn(NUM_IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(5))
        self.text, self.txt2img = TEXTS, dict(enumerate(IMAGE_OF))
        self.img2txt = {image: [t for t, own in enumerate(IMAGE_OF) if own == image] for image in self.image}

    def __len__(self):
        return NUM_IMAGES

    def __getitem__(self, index):
        return {"image": self.pixels[index], "index": index}


def album_loader():
    return DataLoader(Album(), batch_size=4)


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


def give_contrast(model):
    model.itc = torch.nn.Identity()
    model.itc_image = lambda tokens, mask: F.normalize(tokens.mean(1), dim=-1)
    model.itc_text = lambda ids, mask: F.normalize(model.vilt.embeddings.embed_text(ids).mean(1), dim=-1)
    return model


def test_vilt_with_contrast_shortlists_where_k_test_is_given(folder):
    """A shortlist of all scores by match logit + cosine; without k_test by match logit alone."""
    model = give_contrast(tiny_vilt(folder)).eval()
    ways = {k: RetrievalEvaluationTask(k_test=k).way_of(_scorer(model)) for k in (None, 0, 5)}
    assert ways == {None: "pairs", 0: "pairs", 5: "rerank"}
    run(RetrievalEvaluationTask(k_test=5), model)


def _scorer(model):
    from lavis_tldr.models.scorers import scorer_of

    return scorer_of(model)


def test_ways_by_architecture(folder):
    blip, clip, vilt = (_scorer(model) for model in (build_tiny(), clips.stock_clip(), tiny_vilt(folder)))
    assert [RetrievalEvaluationTask().way_of(s) for s in (blip, clip, vilt)] == ["rerank", "cosine", "pairs"]
    assert RetrievalEvaluationTask(k_test=0).way_of(blip) == "cosine"
    assert RetrievalEvaluationTask("pairs").way_of(blip) == "pairs"
    for scorer, way in ((clip, "pairs"), (clip, "rerank"), (vilt, "cosine"), (vilt, "rerank")):
        with pytest.raises(ValueError, match=f"score_by is '{way}'; this model can be scored by"):
            RetrievalEvaluationTask(way).way_of(scorer)


def test_k_test_without_both_is_told(folder, caplog):
    RetrievalEvaluationTask(k_test=9).way_of(_scorer(clips.stock_clip()))
    assert "run.k_test is 9" in caplog.text


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


def worker(rank: int, folder: str) -> None:
    """On rank's share: figures of CLIP, BLIP (re-ranked) and ViLT, and what LAVIS's CLIP says of its share."""
    from pathlib import Path

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.set_num_threads(1)
    registry.mapping["paths"].update(output_dir=folder, result_dir=folder)
    own = Path(folder) / str(rank)
    own.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        register_tiny(own, patch)
        found = figures_of_all(own)
    (Path(folder) / f"figures{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def figures_of_all(folder) -> dict:
    models = {"clip": clips.stock_clip(), "blip": build_tiny(), "vilt": tiny_vilt(folder, "vilt_retrieval")}
    return {name: run(RetrievalEvaluationTask(k_test=4, pairs_per_pass=5), model) for name, model in models.items()}


def test_two_ranks_find_what_one_does(folder):
    """Nine images on two: one has four of them, the other five."""
    mp.spawn(worker, args=(str(folder),), nprocs=2)
    alone = figures_of_all(folder)
    for rank in range(2):
        found = json.loads((folder / f"figures{rank}.json").read_text())
        assert {name: pytest.approx(figures) for name, figures in found.items()} == alone
