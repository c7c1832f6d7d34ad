"""Files that have changed since their stage finished are named."""

import shutil

from run_folders import PARTS, write_encode

from lavis_tldr.report.inspection_text import verification_lines
from lavis_tldr.report.verification import verify_run


def test_an_untouched_run(run):
    # encode, caption, score and cluster 2 files each; each recipe 2 of select, refine and ledger, and 1 of build.
    checked = verify_run(run)
    assert (checked["files"], checked["changed"]) == (4 * 2 + 2 * 7, {})
    assert verification_lines(checked)[0].startswith("verified    22 files, ")
    assert verification_lines(checked)[0].endswith("all as their manifests say")
    # The paper's recipe uses neither captions of all nor scores.
    assert verify_run(run, "paper")["files"] == 2 * 2 + 7
    assert verify_run(run, "best")["files"] == verify_run(run / "best")["files"] == 4 * 2 + 7


def test_what_has_changed(run):
    (run / "best/build/keys.txt").write_text("000000002\n")  # as long as before
    (run / "encode/00001.parquet").unlink()
    with open(run / "best/select/00000.parquet", "ab") as file:
        file.write(b"x")
    size = (run / "best/select/00000.parquet").stat().st_size
    checked = verify_run(run)
    assert checked["changed"] == {
        str(run / "encode/00001.parquet"): "is gone",
        str(run / "best/select/00000.parquet"): f"has {size:,} bytes, had {size - 1:,}",
        str(run / "best/build/keys.txt"): "has the same size but another content",
    }
    lines = "\n".join(verification_lines(checked))
    assert "3 changed since their stage finished" in lines
    assert f"  {run}/best/build/keys.txt has the same size but another content" in lines
    assert list(verify_run(run, "paper")["changed"]) == [str(run / "encode/00001.parquet")]


def test_every_variant_is_checked_whoever_uses_it(run):
    shutil.copytree(run / "cluster/index-2", run / "cluster/index-7")  # of no recipe any more
    assert verify_run(run)["files"] == 5 * 2 + 2 * 7
    for variant in ("cluster/index-7", "score/similarity"):
        (run / variant / "00000.parquet").unlink()
    assert verify_run(run)["changed"] == {
        str(run / "score/similarity/00000.parquet"): "is gone",
        str(run / "cluster/index-7/00000.parquet"): "is gone",
    }
    assert list(verify_run(run, "best")["changed"]) == [str(run / "score/similarity/00000.parquet")]
    assert verify_run(run, "paper")["changed"] == {}


def test_what_is_not_finished_is_not_checked(tmp_path):
    write_encode(tmp_path, done=False, parts={"00000": PARTS["00000"]})
    assert verify_run(tmp_path) == {"files": 0, "bytes": 0, "changed": {}}
