"""Keys checked over a whole source, with buckets small enough to see them at work."""

import multiprocessing
import random
import resource

import numpy as np
import pytest

from lavis_tldr.sources import unique_keys
from lavis_tldr.sources.unique_keys import check_unique_keys


@pytest.fixture(params=["in memory", "spilled"])
def small(request, monkeypatch):
    """Few keys at once; with "spilled", all hashes go through the bucket files."""
    monkeypatch.setattr(unique_keys, "_CHUNK", 7)
    monkeypatch.setattr(unique_keys, "_SPILL", 50 if request.param == "spilled" else 10**9)
    monkeypatch.setattr(unique_keys, "_BUCKET_BITS", 3)


def parts_of(*parts):
    """A source with these parts' keys, as iterators that can be gone through once."""
    return lambda: ((name, iter(keys)) for name, keys in parts)


def test_distinct_keys_are_counted(small, tmp_path):
    parts = [(f"p{p}", [f"{p}/{i}" for i in range(100)]) for p in range(5)]
    assert check_unique_keys(parts_of(*parts, ("empty", [])), tmp_path) == 500
    assert check_unique_keys(parts_of(), tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "second", "places"),
    [(("p", 3), ("q", 90), "part p and in part q"), (("q", 0), ("q", 99), "part q and in part q")],
)
def test_a_doubled_key_is_named_with_both_parts(small, tmp_path, first, second, places):
    keys = {name: [f"{name}{i}" for i in range(100)] for name in ("p", "q", "r")}
    for name, i in (first, second):
        keys[name][i] = "here twice"
    with pytest.raises(ValueError, match=f"Key 'here twice' occurs twice, in {places}. .*`key_prefix: true`"):
        check_unique_keys(parts_of(*keys.items()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_source_given_twice(small, tmp_path, monkeypatch):
    monkeypatch.setattr(unique_keys, "_SUSPECTS", 4)
    keys = [str(i) for i in range(200)]
    with pytest.raises(ValueError, match="occurs twice, in part p and in part q"):
        check_unique_keys(parts_of(("p", keys), ("q", keys)), tmp_path)


@pytest.mark.parametrize("seed", range(20))
def test_like_a_set_does(small, tmp_path, monkeypatch, seed):
    """With hashes of 4 bits, so that distinct keys share them and must be told apart."""
    monkeypatch.setattr(unique_keys, "hash", lambda key: (sum(key.encode()) % 16) << 59, raising=False)
    draw = random.Random(seed)
    keys = [str(draw.randrange(2000)) for _ in range(draw.choice([10, 60, 200]))]
    parts = parts_of(("p", keys[: len(keys) // 2]), ("q", keys[len(keys) // 2 :]))
    if len(set(keys)) == len(keys):
        assert check_unique_keys(parts, tmp_path) == len(keys)
    else:
        with pytest.raises(ValueError, match="occurs twice") as error:
            check_unique_keys(parts, tmp_path)
        assert keys.count(str(error.value).split("'")[1]) > 1


def test_equal_hashes_of_distinct_keys_pass(small, tmp_path, monkeypatch):
    monkeypatch.setattr(unique_keys, "hash", lambda key: 1, raising=False)
    assert check_unique_keys(parts_of(("p", "abcde"), ("q", "fghij")), tmp_path) == 10


def test_the_source_is_gone_through_once_if_all_is_well(small, tmp_path):
    calls = []
    check_unique_keys(lambda: calls.append(1) or [("p", ["a", "b"])], tmp_path)
    assert len(calls) == 1


def test_buckets_are_spilled_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(unique_keys, "_SPILL", 4096)
    hashes = unique_keys._Hashes(tmp_path)
    for start in range(0, 2**17, 1024):
        hashes.add(np.arange(start, start + 1024, dtype=np.uint64) << np.uint64(64 - 17))
    assert sum(len(repeated) for repeated in hashes.repeated()) == 0
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 1024 and set(sizes) == {8 * 2**17 // 1024}


def _check_under_limit(scratch, connection):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
    unique_keys._SPILL = 10
    try:
        check_unique_keys(lambda: [("p", map(str, range(100)))], scratch)
    except ValueError as error:
        connection.send(str(error))


def test_no_room_in_the_scratch_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_check_under_limit, args=(tmp_path, send))
    process.start()
    send.close()
    assert receive.recv().startswith(f"cannot write {tmp_path}")
    process.join()
    assert list(tmp_path.iterdir()) == []
