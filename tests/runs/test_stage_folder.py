import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from lavis_tldr.runs.stage_folder import Stage, file_digest

CONFIG = {"cluster": {"num_clusters": 3, "kind": "histogram"}, "seed": 0}
INPUTS = {"encode": "abc"}


def opened(root, config=CONFIG, inputs=INPUTS, name="cluster"):
    stage = Stage(root, name, config, inputs)
    stage.open()
    return stage


def write_part(stage, name, text):
    with stage.write(f"{name}.parquet") as path:
        path.write_text(text)


def names(stage):
    return sorted(path.name for path in stage.folder.iterdir())


def test_a_stage_from_start_to_end(tmp_path):
    stage = opened(tmp_path)
    assert not stage.is_done()
    assert stage.pending(["00000", "00001"]) == ["00000", "00001"]
    write_part(stage, "00001", "one")
    assert stage.pending(["00000", "00001"]) == ["00000"]
    stage.write_part("00000", lambda path: path.write_text("zero"), {"read": 4, "seconds": 0.5})
    stage.scratch.mkdir()
    (stage.scratch / "left").write_text("over")
    stage.finish({"read": 10, "failed": 1}, seconds=2.0)
    assert not stage.scratch.exists()
    again = opened(tmp_path)
    assert again.is_done() and again.pending(["00000", "00001"]) == []
    manifest = json.loads((tmp_path / "cluster" / "manifest.json").read_text())
    assert manifest == again.manifest
    assert manifest.pop("package_version")
    assert manifest == {
        "stage": "cluster",
        "config": CONFIG,
        "inputs": INPUTS,
        "done": True,
        "counts": {"read": 10, "failed": 1},
        "seconds": 2.0,
        "rate": 5.0,
        "parts": {"00000": {"read": 4, "seconds": 0.5}},
        "outputs": {
            "00000.parquet": {"bytes": 4, "digest": hashlib.blake2b(b"zero", digest_size=16).hexdigest()},
            "00001.parquet": {"bytes": 3, "digest": hashlib.blake2b(b"one", digest_size=16).hexdigest()},
        },
    }


def test_before_open_nothing_is_there(tmp_path):
    stage = Stage(tmp_path / "run", "cluster", CONFIG, INPUTS)
    assert not stage.is_done()
    assert stage.pending(["00000"]) == ["00000"]
    with pytest.raises(ValueError, match="open the stage first"):
        stage.finish({}, 1.0)


def test_only_named_outputs_count_if_any_is_named(tmp_path):
    stage = opened(tmp_path)
    write_part(stage, "00000", "zero")
    with stage.write("centroids.npy") as path:
        np.save(path, np.zeros(2))  # np.save appends .npy to other names: the suffix must be there
    stage.finish({}, 0.0, outputs=[stage.folder / "centroids.npy"])
    assert list(stage.manifest["outputs"]) == ["centroids.npy"]
    assert stage.manifest["rate"] is None
    with pytest.raises(ValueError, match="nowhere.npy is not a file"):
        stage.finish({}, 0.0, outputs=[stage.folder / "nowhere.npy"])


# ----------------------------------------------------------------------------------------- half-written files


def test_a_failed_write_leaves_nothing(tmp_path):
    stage = opened(tmp_path)
    with pytest.raises(RuntimeError), stage.write("00000.parquet") as path:
        path.write_text("half")
        raise RuntimeError("disk full")
    assert names(stage) == ["manifest.json"]
    nothing = "nothing was written for .*00000.parquet"
    with pytest.raises(ValueError, match=nothing), stage.write("00000.parquet"):
        pass
    assert stage.pending(["00000"]) == ["00000"]


def test_a_failed_rewrite_leaves_the_old_part(tmp_path):
    stage = opened(tmp_path)
    write_part(stage, "00000", "whole")
    with pytest.raises(RuntimeError), stage.write("00000.parquet") as path:
        path.write_text("half")
        raise RuntimeError
    assert stage.part_path("00000").read_text() == "whole"


def _die_while_writing(root):
    stage = opened(root)
    write_part(stage, "00000", "whole")
    with stage.write("00001.parquet") as path:
        path.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_leaves_no_part(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    stage = opened(tmp_path)
    assert stage.pending(["00000", "00001"]) == ["00001"]
    assert len(names(stage)) == 3  # the manifest, the part and what the killed process left
    write_part(stage, "00001", "whole")
    stage.finish({}, 1.0)
    assert names(stage) == ["00000.parquet", "00001.parquet", "manifest.json"]
    assert list(stage.manifest["outputs"]) == ["00000.parquet", "00001.parquet"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", ".tmp-x"])
def test_names_stay_inside_the_folder(tmp_path, name):
    stage = opened(tmp_path)
    with pytest.raises(ValueError, match="no file name for a stage"), stage.write(name):
        pass
    with pytest.raises(ValueError, match="no file name for a stage"):
        Stage(tmp_path, name, {}, {})


# ------------------------------------------------------------------------------------------- what has changed


def test_each_change_is_listed(tmp_path):
    opened(tmp_path)
    changed = {"cluster": {"num_clusters": 5, "kind": "histogram", "tfidf": True}, "seed": 0}
    with pytest.raises(ValueError) as caught:
        opened(tmp_path, changed, {"encode": "xyz"})
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "config.cluster.num_clusters: 3 -> 5",
        "config.cluster.tfidf: (absent) -> true",
        'inputs.encode: "abc" -> "xyz"',
        "Use a new run folder, or `--restart cluster` to make it anew.",
    ]
    # is_done doesn't say yes to another config either
    with pytest.raises(ValueError, match="made otherwise"):
        Stage(tmp_path, "cluster", changed, INPUTS).is_done()


def test_the_same_config_otherwise_spelt_is_the_same(tmp_path):
    opened(tmp_path, {"sizes": (1, 2), "root": tmp_path, "ratio": np.float64(1)})
    opened(tmp_path, {"ratio": 1, "root": str(tmp_path), "sizes": [1, 2]})


def test_an_output_that_changed_or_went_is_noticed(tmp_path):
    stage = opened(tmp_path)
    write_part(stage, "00000", "zero")
    stage.finish({}, 1.0)
    stage.part_path("00000").write_text("truncat")
    with pytest.raises(ValueError, match="00000.parquet has 7 bytes but had 4.*--restart cluster"):
        stage.is_done()
    stage.part_path("00000").unlink()
    assert not stage.is_done() and stage.pending(["00000"]) == ["00000"]


def test_files_without_manifest_are_not_trusted(tmp_path):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "00000.parquet").write_text("whose?")
    stage = Stage(tmp_path, "cluster", CONFIG, INPUTS)
    with pytest.raises(ValueError, match="files but no manifest.*'00000.parquet'"):
        stage.open()
    stage.restart()
    stage.open()
    assert names(stage) == ["manifest.json"]


def test_a_broken_manifest_is_told(tmp_path):
    stage = opened(tmp_path)
    (stage.folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json is no JSON.*--restart cluster"):
        stage.open()
    stage.restart()
    stage.open()


def test_a_restart_that_was_cut_short_is_ended(tmp_path, monkeypatch):
    stage = opened(tmp_path)
    write_part(stage, "00000", "zero")

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "unlink", killed)
        stage.restart()
    assert not (stage.folder / "manifest.json").exists()
    assert list(stage.folder.glob("*.parquet"))
    with pytest.raises(ValueError, match="holds files but no manifest"):
        stage.open()
    stage.end_restart()
    assert list(stage.folder.iterdir()) == []
    stage.open()
    stage.end_restart()  # nothing to end: what is open stays
    assert (stage.folder / "manifest.json").is_file()


def test_restart_forgets_the_stage_and_only_it(tmp_path):
    stage, other = opened(tmp_path), opened(tmp_path, name="encode")
    write_part(stage, "00000", "zero")
    write_part(other, "00000", "zero")
    stage.finish({}, 1.0)
    stage.restart()
    assert names(stage) == [] and other.pending(["00000"]) == []
    opened(tmp_path, {"another": "config"})
    Stage(tmp_path, "never opened", {}, {}).restart()


# --------------------------------------------------------------------------------------------------- digests


def test_digest_is_of_config_inputs_and_outputs_not_of_time(tmp_path):
    def digest(root, config=CONFIG, inputs=INPUTS, text="zero", seconds=1.0):
        stage = opened(tmp_path / root, config, inputs)
        stage.write_part("00000", lambda path: path.write_text(text), {"seconds": seconds})
        stage.finish({}, seconds)
        return stage.digest

    first = digest("first")
    assert digest("second", seconds=9.0) == first
    assert len({first, digest("c", {"seed": 1}), digest("i", inputs={}), digest("o", text="one")}) == 4


def test_a_part_changed_since_its_note_is_digested_anew(tmp_path):
    stage = opened(tmp_path)
    stage.write_part("00000", lambda path: path.write_text("zero"), {})
    write_part(stage, "00000", "other")
    stage.finish({}, 1.0)
    assert stage.manifest["outputs"]["00000.parquet"]["digest"] == hashlib.blake2b(b"other", digest_size=16).hexdigest()


def test_a_finished_stage_as_it_was_made(tmp_path):
    stage = opened(tmp_path)
    with pytest.raises(ValueError, match="stage cluster .* is not finished: run `lavis-tldr reduce`"):
        Stage.as_made(tmp_path, "cluster")
    write_part(stage, "00000", "zero")
    stage.finish({"read": 1}, 1.0)
    again = Stage.as_made(tmp_path, "cluster")
    assert again.is_done() and again.digest == stage.digest
    assert (again.config, again.inputs) == (CONFIG, INPUTS)


def test_no_digest_before_the_end(tmp_path):
    with pytest.raises(ValueError, match="is not finished"):
        _ = opened(tmp_path).digest


def test_file_digest(tmp_path):
    content = b"x" * (2**20 + 1)  # more than one read
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.blake2b(content, digest_size=16).hexdigest()


# ------------------------------------------------------------------------------------------ several processes


def _open_and_write(root, barrier, rank):
    barrier.wait()
    stage = opened(root)
    for part in stage.pending([f"{i:05d}" for i in range(4)]):
        write_part(stage, part, f"part {part}")


def test_many_processes_share_a_stage(tmp_path):
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        root, barrier = tmp_path / str(attempt), context.Barrier(4)
        processes = [context.Process(target=_open_and_write, args=(root, barrier, r)) for r in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 4
        stage = opened(root)
        parts = [f"{i:05d}" for i in range(4)]
        assert [stage.part_path(part).read_text() for part in parts] == [f"part {part}" for part in parts]
        assert len(names(stage)) == 5  # nothing temporary is left


def test_opening_late_does_not_undo_a_finished_stage(tmp_path, monkeypatch):
    late = Stage(tmp_path, "cluster", CONFIG, INPUTS)
    looks = []

    def blind_once():
        # the first look finds no manifest; by the time of the write another process has finished the stage
        looks.append(1)
        if len(looks) == 1:
            opened(tmp_path).finish({}, 1.0)
            return None
        return Stage._read(late)

    monkeypatch.setattr(late, "_read", blind_once)
    late.open()
    assert late.is_done()
