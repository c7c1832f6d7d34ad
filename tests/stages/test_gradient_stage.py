"""The stage that writes gradient norms: parts, ranks, resuming."""

import shutil
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from hostile_set import Sample, write_tar
from reductions import files_of, ledger_rows

from lavis_tldr.scoring import gradients
from lavis_tldr.stages import gradient

ONLY = {"stages": ["encode", "gradient"]}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    options = gradients.TrainingOptions(num_steps=20, batch_size=8)
    monkeypatch.setattr(gradients, "_OPTIONS", options)


def rows(run):
    return [row for path in sorted(run.glob("gradient/*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_a_norm_for_every_usable_pair(reduced, pool, tmp_path):
    figures = reduced(**ONLY)
    found = rows(tmp_path / "out")
    assert {row["key"] for row in found} == {
        row["key"]
        for path in (tmp_path / "out/encode").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
        if not row["error"]
    }
    assert all(row["gradient"] > 0 for row in found)
    assert figures["stages"]["gradient"]["counts"] == {"read": 43}  # of 48, 5 are unusable
    assert pq.read_schema(next((tmp_path / "out/gradient").glob("*.parquet"))).names == ["key", "gradient"]


def test_norms_do_not_depend_on_the_parts(reduced, album, tmp_path):
    found = {}
    for part_size in (5, 100):
        of = SimpleNamespace(source=album.source | {"part_size": part_size}, captioner=album.captioner)
        reduced(of=of, output=tmp_path / str(part_size), **ONLY)
        found[part_size] = {row["key"]: row["gradient"] for row in rows(tmp_path / str(part_size))}
    assert len(found[5]) == 36
    assert found[5] == pytest.approx(found[100], rel=1e-3)


def test_a_missing_part_is_scored_by_the_network_that_is_there(reduced, monkeypatch, tmp_path):
    reduced(**ONLY)
    folder = tmp_path / "out/gradient"
    before = files_of(folder)
    (folder / "00001.parquet").unlink()
    monkeypatch.setattr(gradient, "fit_gradients", None)
    reduced(**ONLY)
    assert files_of(folder) == before


def test_ranks_share_the_parts_and_the_network(reduced, forked_ranks, configure, tmp_path):
    reduced(**ONLY)
    shutil.copytree(tmp_path / "out", tmp_path / "by3")
    for path in (tmp_path / "by3/gradient").glob("*.parquet"):
        path.unlink()
    outcome = forked_ranks.reduce(configure(output=tmp_path / "by3", **ONLY), ranks=3)
    assert outcome.succeeded, outcome.log
    assert files_of(tmp_path / "by3") == files_of(tmp_path / "out")


def test_the_largest_gradients_of_each_cluster_are_kept(reduced, tmp_path):
    reduced(selection="gradient", keep_ratio=0.5)
    gradients_of = {row["key"]: row["gradient"] for row in rows(tmp_path / "out")}
    ledger = [row for row in ledger_rows(tmp_path / "out/reduced").values() if row["cluster"] >= 0]
    assert sum(row["kept"] for row in ledger) == 22  # half of 43, rounded up
    for cluster in {row["cluster"] for row in ledger}:
        kept, dropped = (
            [gradients_of[row["key"]] for row in ledger if row["cluster"] == cluster and row["kept"] == is_kept]
            for is_kept in (True, False)
        )
        assert min(kept) >= max(dropped, default=0)


def test_a_part_may_have_nothing_usable(reduced, pool, tmp_path):
    write_tar(tmp_path / "damaged.tar", [Sample("9.jpg", b"no image", b"a caption")])
    source = pool.source | {"tars": [pool.source["tars"], str(tmp_path / "damaged.tar")]}
    figures = reduced(of=SimpleNamespace(source=source, captioner=pool.captioner), **ONLY)
    assert figures["stages"]["encode"]["counts"] == {"read": 49, "written": 43, "failed": 6}
    assert figures["stages"]["gradient"]["counts"] == {"read": 43}
