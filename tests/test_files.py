"""Files written whole or not at all, and what a full disk says."""

import os
import stat
import subprocess
import sys

import pytest

from lavis_tldr.files import create_whole, open_whole, write_whole

LIMIT = 100_000  # bytes


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_there_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "part.parquet"
    with write_whole(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == tmp_path and temporary.suffix == ".parquet"
        assert not path.exists()
    assert path.read_text() == "whole" and names(tmp_path) == ["part.parquet"]


def test_a_failed_block_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(KeyError), open_whole(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyError("x")
    assert (tmp_path / "a").read_text() == "before" and names(tmp_path) == ["a"]


def test_open_whole_makes_the_folder_and_takes_long_names(tmp_path):
    path = tmp_path / "a" / "b" / ("n" * 255)
    with open_whole(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_permissions_are_the_umasks(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with open_whole(tmp_path / "opened") as file:
            file.write(b"x")
        create_whole(tmp_path / "created", "x")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}


def test_create_whole_never_replaces(tmp_path):
    assert create_whole(tmp_path / "a", "first")
    assert not create_whole(tmp_path / "a", "second")
    assert (tmp_path / "a").read_text() == "first" and names(tmp_path) == ["a"]


WRITERS = {
    "text": "with write_whole(path) as temporary: temporary.write_text('x' * 200_000)",
    "file": "with open_whole(path) as file: file.write(bytes(200_000))",
    "file, at its close": "with open_whole(path) as file: [file.write(b'x') for _ in range(100_001)]",
    "create": "create_whole(path, 'x' * 200_000)",
    "json": "write_annotations(path, ({'image': 'i', 'caption': 'x' * 1000} for _ in range(200)))",
    "parquet": "with write_whole(path) as temporary: pq.write_table(pa.table({'x': np.random.rand(50_000)}), temporary)",
    "numpy": "with open_whole(path) as file: np.save(file, np.zeros(50_000))",
    "torch": "from lavis_tldr.runners.checkpoint import save_checkpoint\n"
    "import torch; save_checkpoint({'x': torch.zeros(50_000)}, path)",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_no_room_is_one_clear_error_and_leaves_nothing(tmp_path, writer):
    path = tmp_path / "out" / "a.bin"
    path.parent.mkdir()
    code = f"""
import resource
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from lavis_tldr.files import create_whole, open_whole, write_whole
from lavis_tldr.sources.annotations import write_annotations
from lavis_tldr.user_errors import run_command
resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))
path = Path({str(path)!r})
def command():
{"".join(f"    {line}{chr(10)}" for line in WRITERS[writer].splitlines())}
raise SystemExit(run_command(command))
"""
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith(f"lavis-tldr: error: cannot write {path}: File too large (its file system has ")
    assert "MiB left). Free some space, or raise the limit on a file's size (ulimit -f) and run" in result.stderr
    assert "the same command again: finished parts are kept." in result.stderr
    assert names(path.parent) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt: No space left on device .*Free some space and run the same"):
        with write_whole(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            with open("/dev/full", "wb") as full:
                full.write(b"x")
    assert names(tmp_path) == []


def test_other_failures_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="not the disk"), write_whole(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise RuntimeError("not the disk")
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "a"):
        open(tmp_path / "no such file")
    assert names(tmp_path) == []
