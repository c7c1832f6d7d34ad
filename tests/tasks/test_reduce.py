"""The whole reduction on drawn sources: what comes out, and that nothing is lost on the way."""

import json
import shutil
import tarfile
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf
from reductions import annotations, ledger_rows

from lavis_tldr.datasets.tldr_reduced import ReducedBuilder
from lavis_tldr.models.codebook_captioner import CodebookCaptioner

RECIPE = "reduced"
BUILT = "reduced/build"


def served(build):
    """The samples of ``tldr_reduced`` at this path."""
    config = OmegaConf.create(
        {
            "data_type": "images",
            "path": str(build),
            "vis_processor": {"train": {"name": "blip_image_eval", "image_size": 32}},
            "text_processor": {"train": {"name": "blip_caption"}},
            "on_bad_image": "raise",
        }
    )
    dataset = ReducedBuilder(config).build_datasets()["train"]
    return [dataset[i] for i in range(len(dataset))]


def test_paper_recipe_end_to_end(reduced, pool, tmp_path):
    figures = reduced(keep_ratio=0.25)
    rows = ledger_rows(tmp_path / "out" / RECIPE)
    assert set(rows) == set(pool.truth)
    broken = {key for key, fact in pool.truth.items() if fact["broken"]}
    empty = {key for key, fact in pool.truth.items() if fact["empty"]}
    assert len(broken) == 3 and len(empty) == 2
    assert {key for key, row in rows.items() if row["reason"].startswith("failed: unreadable image: ")} == broken
    assert {key for key, row in rows.items() if row["reason"] == "failed: empty caption"} == empty
    kept = {key for key, row in rows.items() if row["kept"]}
    assert len(kept) == 11  # a quarter of 43, rounded
    assert {row["reason"] for key, row in rows.items() if key not in kept | broken | empty} == {"dropped: not drawn"}
    for key, row in rows.items():
        assert (row["cluster"] >= 0) == (key not in broken | empty)
        assert np.isnan(row["alignment"])
        if key in kept:
            assert row["caption"] == f"{row['caption_original']}; {row['caption_generated']}"
    assert figures["counts"]["read"] == 48
    assert figures["counts"]["kept"] == 11
    assert figures["counts"]["dropped"] == {"not drawn": 32}
    assert sum(figures["counts"]["failed"].values()) == 5
    assert figures["stages"]["encode"]["counts"] == {"read": 48, "written": 43, "failed": 5}
    assert "score" not in figures["stages"]
    assert json.loads((tmp_path / "out/reduced/summary.json").read_text()) == figures


def test_uniform_keeps_the_same_share_of_each_cluster(reduced, tmp_path):
    reduced(keep_ratio=0.5, num_clusters=3)
    rows = [row for row in ledger_rows(tmp_path / "out" / RECIPE).values() if row["cluster"] >= 0]
    sizes, kept = Counter(row["cluster"] for row in rows), Counter(row["cluster"] for row in rows if row["kept"])
    assert len(sizes) == 3
    assert all(abs(kept[c] - sizes[c] / 2) < 1 for c in sizes)


@pytest.mark.parametrize("images", ["export", "in_place"])
def test_tldr_reduced_reads_the_set(reduced, pool, tmp_path, images):
    reduced(images=images, recipe="original")
    build = tmp_path / "out" / BUILT
    rows = annotations(build)
    samples = served(build)
    assert [row["key"] for row in rows] == (build / "keys.txt").read_text().split()
    assert [row["caption"] for row in rows] == [pool_caption(pool, row["key"]) for row in rows]
    assert len(samples) == len(rows) == 11
    assert samples[0]["image"].shape == (3, 32, 32)
    assert (build / "images").exists() == (images == "export")
    if images == "export":
        assert all(row["image"] == f"{row['key'][:5]}/{row['key']}.jpg" for row in rows)
        assert len(list((build / "images").glob("*/*"))) == 11
    else:
        assert all(row["tar"].endswith(f"{row['key'][:5]}.tar") and row["size"] > 0 for row in rows)


def pool_caption(pool, key):
    with tarfile.open(pool.folder / "tars" / f"{key[:5]}.tar") as tar:
        return tar.extractfile(f"{key}.txt").read().decode()


def test_images_in_place_are_those_exported(reduced, configure, tmp_path):
    reduced(images="export")
    reduced(images="in_place", name="there")
    exported, in_place = served(tmp_path / "out" / BUILT), served(tmp_path / "out/there/build")
    assert len(exported) == len(in_place)
    for one, other in zip(exported, in_place, strict=True):
        assert one["text_input"] == other["text_input"]
        assert one["image"].equal(other["image"])


@pytest.mark.parametrize("images", ["export", "in_place"])
def test_several_captions_of_an_image_share_one_encoding(reduced, album, tmp_path, images):
    figures = reduced(of=album, keep_ratio=1, num_clusters=2, images=images)
    out = tmp_path / "out"
    assert figures["counts"]["read"] == figures["counts"]["kept"] == 36
    assert len(list((out / "encode").glob("*.parquet"))) == 3
    rows = annotations(out / BUILT)
    assert [row["key"] for row in rows] == sorted(f"{r['image']}#{i}" for r in album.rows for i in range(3))
    assert len({row["image"] for row in rows}) == 12
    assert len(served(out / BUILT)) == 36
    codes = {}
    for part in (out / "encode").glob("*.parquet"):
        for row in pq.read_table(part).to_pylist():
            codes.setdefault(row["image_key"], set()).add(tuple(row["codes"]))
    assert len(codes) == 12 and all(len(found) == 1 for found in codes.values())


@pytest.mark.parametrize("representation", ["index", "histogram", "embedding"])
def test_each_representation_clusters(reduced, tmp_path, representation):
    figures = reduced("run.stages=[encode,cluster]", representation=representation)
    weighting = "-tfidf" if representation == "histogram" else ""
    cluster = tmp_path / f"out/cluster/{representation}{weighting}-4-seed42"
    tables = [pq.read_table(path) for path in sorted(cluster.glob("*.parquet"))]
    sizes = np.bincount(pa.concat_tables(tables)["cluster"].to_numpy(), minlength=4)
    assert sizes.tolist() == np.load(cluster / "sizes.npy").tolist()
    assert sizes.sum() == 43
    assert figures["stages"]["cluster"]["counts"] == {"read": 43, "clusters": 4, "empty": 0}


def test_aligned_selection_keeps_the_best_of_each_cluster(reduced, tmp_path):
    reduced(selection="aligned", keep_ratio=0.5, recipe="original")
    rows = ledger_rows(tmp_path / "out" / RECIPE).values()
    usable = [row for row in rows if not row["error"]]
    assert all(np.isfinite(row["alignment"]) for row in usable)
    assert {row["reason"] for row in usable} == {"kept", "dropped: low alignment"}
    for c in range(4):
        kept = [row["alignment"] for row in usable if row["cluster"] == c and row["kept"]]
        dropped = [row["alignment"] for row in usable if row["cluster"] == c and not row["kept"]]
        assert not kept or not dropped or min(kept) >= max(dropped)


def test_without_balance_the_best_of_all_are_kept(reduced, tmp_path):
    reduced(selection="aligned", balance=0, keep_ratio=0.25, recipe="original")
    rows = [row for row in ledger_rows(tmp_path / "out" / RECIPE).values() if not row["error"]]
    by_score = sorted(rows, key=lambda row: -row["alignment"])
    assert {row["key"] for row in rows if row["kept"]} == {row["key"] for row in by_score[:11]}


def test_near_duplicates_name_the_better_twin_and_are_dropped(reduced, tmp_path):
    figures = reduced(selection="aligned", duplicate_threshold=0.9, keep_ratio=0.25, recipe="original")
    rows = ledger_rows(tmp_path / "out" / RECIPE)
    twins = {key: row["reason"].split("of ")[1] for key, row in rows.items() if "near duplicate of" in row["reason"]}
    assert len(twins) == figures["counts"]["dropped"]["near duplicate"] > 0
    for key, twin in twins.items():
        assert rows[key]["cluster"] == rows[twin]["cluster"]
        assert rows[twin]["alignment"] >= rows[key]["alignment"]
        assert twin not in twins


@pytest.mark.parametrize("recipe", ["original", "generated", "original_generated"])
def test_each_recipe(reduced, tmp_path, recipe):
    figures = reduced(recipe=recipe, keep_ratio=1)
    rows = [row for row in ledger_rows(tmp_path / "out" / RECIPE).values() if row["kept"]]
    assert len(rows) == 43
    for row in rows:
        assert row["caption_from"] == recipe
        assert row["caption"] == "; ".join(row[f"caption_{name}"] for name in recipe.split("_"))
    assert figures["counts"]["caption_from"] == {recipe: 43}


@pytest.mark.parametrize("caption_all", [False, True])
def test_no_caption_is_generated_twice(reduced, tmp_path, monkeypatch, caption_all):
    calls = []
    generate = CodebookCaptioner.generate_from

    def counting(self, images, options):
        calls.append(len(images))
        return generate(self, images, options)

    monkeypatch.setattr(CodebookCaptioner, "generate_from", counting)
    figures = reduced(selection="aligned", recipe="original_generated", batch_size_eval=16, caption_all=caption_all)
    assert ("caption" in figures["stages"]) == caption_all
    rows = ledger_rows(tmp_path / "out" / RECIPE)
    if not caption_all:
        assert sum(calls) == figures["counts"]["kept"] == 11
        assert not (tmp_path / "out/caption").exists()
        return
    assert sum(calls) == 43
    captions = {}
    for part in (tmp_path / "out/caption").glob("*.parquet"):
        captions |= {row["key"]: row["caption_generated"] for row in pq.read_table(part).to_pylist()}
    assert set(captions) == {key for key, row in rows.items() if not row["error"]}
    for key, row in rows.items():
        assert row["caption_generated"] == (captions[key] if row["kept"] else "")


def test_captions_of_all_are_those_of_the_kept(reduced, tmp_path):
    """Whether the captioner is asked for all images or for the kept ones, it says the same of each."""
    reduced(recipe="original_generated")
    reduced(recipe="original_generated", caption_all=True, name="all")
    one, other = (
        {key: row["caption"] for key, row in ledger_rows(tmp_path / "out" / name).items()} for name in (RECIPE, "all")
    )
    assert one == other and sum(map(bool, one.values())) == 11


def test_bf16_and_loader_processes(reduced, tmp_path):
    figures = reduced(bf16=True, num_workers=1, num_beams=2, selection="aligned")
    assert figures["counts"]["kept"] == 11


def test_a_file_name_that_no_table_can_hold_is_a_failed_record(reduced, album, tmp_path):
    """Names are bytes to the file system; JSON may spell such a name with a lone surrogate."""
    odd = "dev/odd-\udcff.jpg"
    images = tmp_path / "images"
    shutil.copytree(album.folder / "images", images)
    shutil.copyfile(images / album.rows[0]["image"], images / odd)
    rows = [{"image": row["image"], "caption": "a scene"} for row in album.rows] + [{"image": odd, "caption": "odd"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    source = {"format": "lavis_json", "annotations": str(tmp_path / "rows.json"), "image_root": str(images)}
    figures = reduced(of=SimpleNamespace(source=source, captioner=album.captioner), num_clusters=2, keep_ratio=1)
    assert figures["counts"]["failed"] == {"unreadable image: its path is not UTF-8": 1}
    assert figures["counts"]["kept"] == 12
