"""Files written whole or not at all, and what a full disk says."""

import multiprocessing
import os
import resource
import stat

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lavis_tldr.exports.annotation_list import write_annotations
from lavis_tldr.files import create_whole, open_whole, write_whole
from lavis_tldr.runners.checkpoint import save_checkpoint
from lavis_tldr.user_errors import is_user_error

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


def _write_text(path):
    with write_whole(path) as temporary:
        temporary.write_text("x" * 200_000)


def _write_file(path):
    with open_whole(path) as file:
        file.write(bytes(200_000))


def _overflow_at_close(path):
    with open_whole(path) as file:
        file.write(bytes(LIMIT))
        file.write(b"x")  # stays in the buffer


def _create(path):
    create_whole(path, "x" * 200_000)


def _annotate(path):
    write_annotations(path, ({"image": "i", "caption": "x" * 1000} for _ in range(200)))


def _write_parquet(path):
    with write_whole(path) as temporary:
        pq.write_table(pa.table({"x": np.random.default_rng(0).random(50_000)}), temporary)


def _save_array(path):
    with open_whole(path) as file:
        np.save(file, np.zeros(50_000))


# Made before the fork: a forked child must not start PyTorch's threads, which its parent may have started.
_TENSOR = torch.zeros(50_000)


def _save_tensor(path):
    save_checkpoint({"x": _TENSOR}, path)


def _under_limit(write, path, connection):
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    try:
        write(path)
    except Exception as error:
        connection.send((is_user_error(error), str(error)))


@pytest.mark.parametrize(
    "write",
    [_write_text, _write_file, _overflow_at_close, _create, _annotate, _write_parquet, _save_array, _save_tensor],
)
def test_no_room_is_one_clear_error_and_leaves_nothing(tmp_path, write):
    path = tmp_path / "a.bin"
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_under_limit, args=(write, path, send))
    process.start()
    send.close()
    assert receive.poll(120), "the writer neither ends nor fails"
    is_users, message = receive.recv()
    process.join()
    assert is_users
    assert message.startswith(f"cannot write {path}: File too large (its file system has ")
    assert message.endswith(
        " MiB left). Free some space, or raise the limit on a file's size (ulimit -f) and run the same command again: "
        "finished parts are kept."
    )
    assert names(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(tmp_path):
    said = r"a\.txt: No space left on device .*Free some space and run the same"
    with pytest.raises(ValueError, match=said), write_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        with open("/dev/full", "wb") as full:
            full.write(b"x")
    assert names(tmp_path) == []


def test_other_failures_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="not the disk"), write_whole(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise RuntimeError("not the disk")
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "a"):
        (tmp_path / "no such file").read_text()
    assert names(tmp_path) == []
