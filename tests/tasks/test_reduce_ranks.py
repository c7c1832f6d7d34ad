"""The same reduction by one process and by several: same files, byte for byte."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hostile_set import Sample, encoded, scene, write_tar
from reductions import files_of, ledger_rows, reduce_set, write_bert

import lavis_tldr

REPOSITORY = Path(lavis_tldr.__file__).parents[1]
PAPER = {"selection": "uniform", "recipe": "original_generated"}
ALIGNED = {"selection": "aligned", "recipe": "gated", "alignment_threshold": 0.0, "duplicate_threshold": 0.95}
# A network that scores, a cut over all, quotas by how clusters lie, and a mean of the whole set's features.
HARD = {
    "selection": "hard_sample",
    "balance": 0.5,
    "quota": "density",
    "prefilter": "gradient",
    "prefilter_share": 0.8,
    "min_words": 2,
    "duplicate_threshold": 0.9,
    "duplicate_by": "feature",
    "recipe": "drawn",
    "score_refined": True,
}


# Copies of samples, and the concepts of all captions.
REPEATED = {
    "selection": "aligned",
    "balance": 0.5,
    "max_repeats": 3,
    "repeat_penalty": 0.2,
    "concept_cap": 0.3,
    "keep_unmatched": False,
    "recipe": "drawn",
}


def reduce_by(ranks: int, config: Path) -> str:
    """Reduce under torch.distributed.run; what it wrote to stderr."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command += ["-m", "lavis_tldr.train", "--cfg-path", str(config)]
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_two_ranks_give_the_result_of_one(configure, tmp_path):
    alone = configure(output=tmp_path / "alone", **ALIGNED)
    figures = reduce_set(alone)
    expected = files_of(tmp_path / "alone")

    # One process began and left one part of the three, so that one of the two ranks finds nothing to encode.
    config = configure(**ALIGNED)
    reduce_set(config, "run.stages=[encode]")
    (tmp_path / "out/encode/00001.parquet").unlink()
    told = reduce_by(2, config)
    assert files_of(tmp_path / "out") == expected
    assert told.count("in 48, kept 11") == 1  # one process speaks for all

    # Counts are those of all ranks, and of the process that goes on after them.
    (tmp_path / "out/score/likelihood/00002.parquet").unlink()
    again = reduce_set(config)
    assert files_of(tmp_path / "out") == expected
    assert again["counts"] == figures["counts"]
    for name, stage in figures["stages"].items():
        assert again["stages"][name]["counts"] == stage["counts"]


@pytest.mark.parametrize(
    ("source", "recipe"),
    [("pool", PAPER), ("album", PAPER), ("pool", ALIGNED), ("album", ALIGNED), ("pool", HARD), ("pool", REPEATED)],
    ids=["pool-paper", "album-paper", "pool-aligned", "album-aligned", "pool-hard", "pool-repeated"],
)
def test_any_number_of_ranks_gives_the_result_of_one(forked_ranks, configure, request, tmp_path, source, recipe):
    source = request.getfixturevalue(source)
    for ranks in (1, 2, 4):
        config = configure(of=source, output=tmp_path / f"by{ranks}", keep_ratio=0.5, **recipe)
        outcome = forked_ranks.reduce(config, ranks=ranks)
        assert outcome.succeeded, outcome.log
    expected = files_of(tmp_path / "by1")
    # Both sources have three parts: at four ranks, one finds nothing to do.
    assert len([name for name in expected if name.startswith("encode/")]) == 3
    assert files_of(tmp_path / "by2") == expected
    assert files_of(tmp_path / "by4") == expected


@pytest.fixture
def crowd(pool, tmp_path):
    """600 pairs in three tars, enough to fit a scorer on; captions name the images' numbers."""
    (tmp_path / "tars").mkdir()
    for part in range(3):
        samples = [Sample(f"{i:04}.png", encoded(scene(i)), f"{i} {i % 7}".encode()) for i in range(part, 600, 3)]
        write_tar(tmp_path / f"tars/{part}.tar", samples)
    return SimpleNamespace(source=pool.source | {"tars": str(tmp_path / "tars/*.tar")}, captioner=pool.captioner)


def with_trusted(config: Path, source: dict) -> Path:
    """The config with pairs known to be right."""
    content = yaml.safe_load(config.read_text())
    content["datasets"]["tldr_captions"] = {"train": source, "vis_processor": {"eval": {"image_size": 32}}}
    config.write_text(yaml.safe_dump(content))
    return config


def test_a_mixture_fitted_by_one_rank_scores_for_all(forked_ranks, configure, crowd, album, tmp_path):
    bert = write_bert(tmp_path / "bert", captions=[str(i) for i in range(600)])
    mixture = {"alignment": "mixture", "mixture": "fitted", "mixture_of": ["contrastive", "likelihood", "normsim"]}
    recipe = ALIGNED | mixture | {"similarity_weights": str(bert)}
    trusted = album.source | {"annotations": str(tmp_path / "trusted.json")}
    rows = [row | {"caption": row["caption"][:1]} for row in album.rows]
    # Twice under other names: weights are fitted on 20 images at least.
    images = Path(album.source["image_root"])
    for row in rows.copy():
        path = Path(row["image"])
        copy = path.with_name(f"copy_{path.name}")
        (images / copy).write_bytes((images / path).read_bytes())
        rows.append(row | {"image": str(copy)})
    Path(trusted["annotations"]).write_text(json.dumps(rows))
    for ranks in (1, 3):
        config = with_trusted(configure(of=crowd, output=tmp_path / f"by{ranks}", **recipe), trusted)
        outcome = forked_ranks.reduce(config, ranks=ranks)
        assert outcome.succeeded, outcome.log
        assert outcome.log.count("mixture fitted on") == 1
    assert files_of(tmp_path / "by3") == files_of(tmp_path / "by1")
    weights = [next((tmp_path / f"by{n}/score").rglob("mixture.json")).read_bytes() for n in (1, 3)]
    assert weights[0] == weights[1]


def test_given_embeddings_score_alike_by_any_number_of_ranks(forked_ranks, configure, pool, tmp_path):
    keys = [f"{part:05}{i:04}" for part in range(3) for i in range(16)]
    rng = np.random.default_rng(0)
    for name in ("images", "texts"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(48, 8)).astype(np.float32))
    (tmp_path / "keys").write_text("\n".join(keys))
    files = {"images": "images.npy", "texts": "texts.npy", "keys": "keys"}
    recipe = {"selection": "aligned", "alignment": "given", "recipe": "original"}
    recipe["embeddings"] = {name: str(tmp_path / path) for name, path in files.items()}
    for ranks in (1, 2, 4):
        outcome = forked_ranks.reduce(configure(output=tmp_path / f"by{ranks}", **recipe), ranks=ranks)
        assert outcome.succeeded, outcome.log
    expected = files_of(tmp_path / "by1")
    assert files_of(tmp_path / "by2") == expected
    assert files_of(tmp_path / "by4") == expected


def test_a_scorer_fitted_by_one_rank_scores_for_all(forked_ranks, configure, crowd, tmp_path):
    bert = write_bert(tmp_path / "bert", captions=[str(i) for i in range(600)])
    recipe = ALIGNED | {"alignment": "contrastive", "similarity_weights": str(bert), "recipe": "gated"}
    recipe |= {"num_sampled": 2, "num_borrowed": 2}
    for ranks in (1, 3):
        outcome = forked_ranks.reduce(configure(of=crowd, output=tmp_path / f"by{ranks}", **recipe), ranks=ranks)
        assert outcome.succeeded, outcome.log
    scores = {row["alignment"] for row in ledger_rows(tmp_path / "by1/reduced").values()}
    assert len(scores) > 500  # nearly all differ
    refined = pq.read_table(sorted((tmp_path / "by1/reduced/refine").glob("[0-9]*.parquet"))).to_pylist()
    assert {"sampled", "borrowed"} <= {row["generated_by"] for row in refined}
    originals = {row["caption_original"] for row in ledger_rows(tmp_path / "by1/reduced").values()}
    borrowed = {row["caption_generated"] for row in refined if row["generated_by"] == "borrowed"}
    assert borrowed <= originals and len(borrowed) > 5
    assert files_of(tmp_path / "by3") == files_of(tmp_path / "by1")
