"""What a second run of a reduction does over again: only what is missing, and nothing behind the user's back."""

import json
import os
import socket
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from lavis.processors.blip_processors import BlipImageEvalProcessor
from reductions import files_of, ledger_rows, reduce_set, tiny_captioner, write_captioner

from lavis_tldr.runs.lock import HOLDER, run_lock
from lavis_tldr.runs.reduced_sets import stage_folders
from lavis_tldr.scenes import draw_scenes
from lavis_tldr.sources import decode_image

ALIGNED = {"selection": "aligned", "recipe": "gated", "alignment_threshold": 0.0}


def mtimes(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def test_second_run_does_nothing_again(configure, tmp_path):
    config = configure(**ALIGNED)
    first = reduce_set(config)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    assert reduce_set(config) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")} == files


def test_one_stage_alone_needs_those_before_it(configure, tmp_path):
    config = configure()
    with pytest.raises(ValueError, match="stage encode in .* is not finished: run it before"):
        reduce_set(config, "run.stages=[cluster]")
    assert list(reduce_set(config, "run.stages=[encode]")["stages"]) == ["encode"]
    assert list(reduce_set(config, "run.stages=cluster")["stages"]) == ["encode", "cluster"]
    figures = reduce_set(config, "run.stages=[build,select,ledger,refine]")
    assert figures["counts"]["kept"] == 11


@pytest.mark.parametrize("stage", ["encode", "caption", "cluster", "score", "select", "refine", "ledger"])
def test_a_missing_part_alone_is_made_again(configure, tmp_path, stage):
    config = configure(**ALIGNED, caption_all=True)
    figures = reduce_set(config)
    before = files_of(tmp_path / "out")
    folder = stage_folders(tmp_path / "out/reduced")[stage]
    times = mtimes(folder)
    (folder / "00001.parquet").unlink()
    assert reduce_set(config)["stages"][stage]["counts"] == figures["stages"][stage]["counts"]
    assert files_of(tmp_path / "out") == before
    again = mtimes(folder)
    assert {name for name in times if again[name] != times[name]} == {"00001.parquet"}


@pytest.mark.parametrize("output", ["cluster/*/centroids.npy", "cluster/*/sizes.npy", "build/keys.txt"])
def test_a_missing_output_is_made_again(configure, tmp_path, output):
    config = configure()
    reduce_set(config)
    before = files_of(tmp_path / "out")
    next((tmp_path / "out").rglob(output)).unlink()
    reduce_set(config)
    assert files_of(tmp_path / "out") == before


def test_unfinished_stage_goes_on_from_its_parts(configure, tmp_path):
    config = configure()
    reduce_set(config, "run.stages=[encode]")
    encode = tmp_path / "out/encode"
    manifest = json.loads((encode / "manifest.json").read_text())
    unfinished = {key: manifest[key] for key in ("stage", "package_version", "config", "inputs")} | {"done": False}
    (encode / "manifest.json").write_text(json.dumps(unfinished))
    (encode / "00002.parquet").unlink()
    times = mtimes(encode)
    figures = reduce_set(config, "run.stages=[encode]")
    assert figures["stages"]["encode"]["counts"] == {"read": 48, "written": 43, "failed": 5}
    assert {name: mtimes(encode)[name] for name in times} == times


def test_files_without_their_manifest_are_refused(configure, tmp_path):
    config = configure()
    reduce_set(config)
    (tmp_path / "out/cluster/histogram-tfidf-4-seed42/manifest.json").unlink()
    with pytest.raises(ValueError, match="holds files but no manifest.*--restart cluster"):
        reduce_set(config)
    assert reduce_set(config, "run.restart=cluster")["counts"]["kept"] == 11


def test_changed_setting_is_named_and_restart_takes_it(configure, tmp_path):
    config = configure()
    reduce_set(config)
    changed = ["run.keep_ratio=0.5", "run.num_clusters=3"]
    changes = r"\n  cluster: histogram-tfidf-4-seed42 -> histogram-tfidf-3-seed42\n.*--restart select"
    with pytest.raises(ValueError, match=f"set 'reduced' in .*out was made from other shared stages.*:{changes}"):
        reduce_set(config, *changed)
    assert len(list((tmp_path / "out/cluster").iterdir())) == 1  # nothing was clustered in vain
    with pytest.raises(ValueError, match=r"stage select.*\n.*config\.keep_ratio: 0\.25 -> 0\.5\n.*--restart select"):
        reduce_set(config, changed[0])
    with pytest.raises(ValueError, match=r"\n  cluster: \S+-4-seed42 -> \S+-4-fit40-seed42\n.*--restart select"):
        reduce_set(config, "run.fit_size=40")
    times = mtimes(tmp_path / "out/encode")
    figures = reduce_set(config, *changed, "run.restart=select")
    assert figures["counts"]["cluster_sizes"]["clusters"] == 3
    assert figures["counts"]["kept"] == 22  # half of 43, rounded to even
    assert mtimes(tmp_path / "out/encode") == times
    # Images of the set before are gone as well as those of this one are there.
    images = {path.stem for path in (tmp_path / "out/reduced/build/images").glob("*/*")}
    assert images == {key for key, row in ledger_rows(tmp_path / "out/reduced").items() if row["kept"]}


def test_restart_leaves_no_image_of_a_larger_set(configure, tmp_path):
    config = configure(keep_ratio=1)
    reduce_set(config)
    reduce_set(config, "run.keep_ratio=0.25", "run.restart=select")
    assert len(list((tmp_path / "out/reduced/build/images").glob("*/*"))) == 11


def test_restart_of_clusters_keeps_the_scores(configure, tmp_path):
    config = configure(**ALIGNED)
    reduce_set(config)
    cluster, score = (tmp_path / "out" / name for name in ("cluster/histogram-tfidf-4-seed42", "score/likelihood"))
    clustered, scored = mtimes(cluster), mtimes(score)
    reduce_set(config, "run.restart=cluster")
    assert mtimes(score) == scored and mtimes(cluster).keys() == clustered.keys()
    assert not set(mtimes(cluster).values()) & set(clustered.values())
    clustered = mtimes(cluster)
    reduce_set(config, "run.restart=score")
    assert mtimes(cluster) == clustered and mtimes(score).keys() == scored.keys()
    assert not set(mtimes(score).values()) & set(scored.values())


def test_other_captioner_is_another_run(configure, pool, tmp_path):
    config = configure()
    reduce_set(config, "run.stages=[encode]")
    other = write_captioner(tmp_path, sorted(fact["true_caption"] for fact in pool.truth.values()), seed=1)
    with pytest.raises(ValueError, match=r"stage encode.*\n.*inputs\.model: "):
        reduce_set(config, f"model.finetuned={other}")
    # The number of heads changes every feature, and no weight tells it.
    with pytest.raises(ValueError, match=r"stage encode.*\n.*inputs\.model: "):
        reduce_set(config, "model.vit_heads=4")
    # The same weights elsewhere are the same captioner.
    copy = tmp_path / "copy.pth"
    copy.write_bytes(pool.captioner.read_bytes())
    reduce_set(config, f"model.finetuned={copy}")


def test_changed_tar_or_image_processor_is_another_run(pool, configure, tmp_path):
    draw = {"num_samples": 8, "part_size": 4, "image_size": 32}
    draw_scenes(tmp_path / "tars", **draw)
    config = configure()
    here = f"datasets.tldr_source.source.tars={tmp_path / 'tars/*.tar'}"
    reduce_set(config, here, "run.stages=[encode]")
    processor = "datasets.tldr_source.vis_processor.eval.mean=[0.5,0.5,0.5]"
    with pytest.raises(ValueError, match=r"config\.vis_processor\.mean: \(absent\) -> \[0\.5, 0\.5, 0\.5\]"):
        reduce_set(config, here, processor, "run.stages=[encode]")
    draw_scenes(tmp_path / "tars", **draw, seed=1)
    with pytest.raises(ValueError, match=r"inputs\.part 00000: "):
        reduce_set(config, here, "run.stages=[encode]")


def test_recipes_share_what_does_not_depend_on_them(configure, tmp_path):
    paper = configure(name="paper")
    reduce_set(paper)
    out = tmp_path / "out"
    shared = {name: mtimes(out / name) for name in ("encode", "cluster/histogram-tfidf-4-seed42")}
    assert all(shared.values())
    best = configure(name="best", **ALIGNED, keep_ratio=0.5)
    figures = reduce_set(best)
    assert {name: mtimes(out / name) for name in shared} == shared
    assert figures["counts"]["kept"] == 22
    third = configure(name="third", selection="aligned", recipe="generated")
    times = mtimes(out / "score/likelihood")
    reduce_set(third)
    assert mtimes(out / "score/likelihood") == times
    assert {path.name for path in out.iterdir()} == {"encode", "score", "cluster", "paper", "best", "third"}
    assert len(ledger_rows(out / "paper")) == len(ledger_rows(out / "best")) == 48


def test_order_of_the_tars_changes_nothing(configure, pool, tmp_path):
    tars = sorted(str(path) for path in (pool.folder / "tars").glob("*.tar"))
    results = []
    for name, order in (("forth", tars), ("back", tars[::-1])):
        config = configure(output=tmp_path / name, **ALIGNED)
        reduce_set(config, f"datasets.tldr_source.source.tars=[{','.join(order)}]")
        results.append(files_of(tmp_path / name))
    assert results[0] == results[1]


def test_an_empty_tar_is_a_part_like_any_other(configure, pool, tmp_path):
    tarfile.open(tmp_path / "empty.tar", "w").close()
    tars = [tmp_path / "empty.tar", *sorted((pool.folder / "tars").glob("*.tar"))]
    config = configure(**ALIGNED)
    figures = reduce_set(config, f"datasets.tldr_source.source.tars=[{','.join(map(str, tars))}]")
    assert figures["counts"]["read"] == 48
    assert pq.read_table(tmp_path / "out/reduced/refine/empty.parquet").num_rows == 0


def test_codes_are_the_models(reduced, pool, tmp_path):
    """Codes against the model called image by image, and nulls where there is an error."""
    reduced("run.stages=[encode]", batch_size_eval=5)
    model = tiny_captioner(tmp_path, sorted(fact["true_caption"] for fact in pool.truth.values()))
    process = BlipImageEvalProcessor(image_size=32)
    table = pq.read_table(tmp_path / "out/encode/00001.parquet").to_pylist()
    assert len(table) == 16
    with tarfile.open(pool.folder / "tars/00001.tar") as tar:
        for row in table:
            assert (row["codes"] is None) == bool(row["error"])
            if row["codes"] is not None:
                image = process(decode_image(tar.extractfile(f"{row['key']}.jpg").read()))
                expected = model.encode_images({"image": image[None]}).codes[0]
                np.testing.assert_array_equal(row["codes"], expected)


def test_a_second_job_keeps_out_of_a_recipe_at_work(configure, tmp_path):
    """Two jobs of this process: each lock is held by a job, not by a process."""
    config, out = configure(), tmp_path / "out"
    reduce_set(config, "run.stages=[encode]")
    with run_lock(out / "reduced"):
        with pytest.raises(ValueError, match=f"process {os.getpid()} on .* is at work in .*reduced: wait for it"):
            reduce_set(config)
        reduce_set(config, "run.name=other")  # another reduced set does not mind
    with run_lock(out):
        reduce_set(config)  # encoded already
        (out / "encode/00001.parquet").unlink()
        with pytest.raises(ValueError, match="is at work in .*out: wait for it"):
            reduce_set(config)


def test_a_job_killed_at_its_last_shared_stage_leaves_no_lock(configure, tmp_path):
    config, out = configure(), tmp_path / "out"
    reduce_set(config)
    (out / HOLDER).write_text(json.dumps({"host": socket.gethostname(), "process": os.getppid()}))
    reduce_set(config)
    assert not (out / HOLDER).exists()
