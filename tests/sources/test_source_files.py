import pytest

from lavis_tldr.sources.source_files import content_digest, expand_braces, find_files


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("a.tar", ["a.tar"]),
        ("{00008..00010}.tar", ["00008.tar", "00009.tar", "00010.tar"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
        ("{plain}", ["{plain}"]),
    ],
)
def test_braces(pattern, expected):
    assert expand_braces(pattern) == expected


def test_files_come_sorted_and_once(tmp_path):
    for name in ("10", "2", "1"):
        (tmp_path / f"{name}.tar").write_bytes(b"x")
    names = [path.rsplit("/", 1)[1] for path in find_files([f"{tmp_path}/2.tar", f"{tmp_path}/*.tar"], "tars")]
    assert names == ["2.tar", "1.tar", "10.tar"]


def test_a_missing_tar_of_a_range_is_named(tmp_path):
    (tmp_path / "0.tar").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"1.tar' \(2 of the paths"):
        find_files(f"{tmp_path}/{{0..2}}.tar", "tars")


def test_large_files_are_sampled_from_end_to_end(tmp_path):
    path = tmp_path / "x"
    content = bytearray(10 * 2**20)
    path.write_bytes(content)
    before = content_digest(str(path), full_bytes=2**20)
    assert before == content_digest(str(path), full_bytes=2**20)
    # The first and last byte are in sampled blocks; a longer file differs by its size alone.
    for position in (0, len(content) - 1):
        changed = content.copy()
        changed[position] = 1
        path.write_bytes(changed)
        assert content_digest(str(path), full_bytes=2**20) != before
    path.write_bytes(content + b"\x00")
    assert content_digest(str(path), full_bytes=2**20) != before
