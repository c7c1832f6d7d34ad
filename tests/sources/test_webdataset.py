import gzip
import json
import os
import tarfile

import pytest

from lavis_tldr.sources import WebDatasetSource, read_image_bytes, source_files
from lavis_tldr.sources.record import ImageLocation


def _read(path, **options):
    source = WebDatasetSource(path, **options)
    return [record for part in source.parts for record in source.read(part)]


def _digest(path):
    source = WebDatasetSource(path)
    return source.digest(source.parts[0])


def _facts(records):
    return [(record.key, record.caption, record.error) for record in records]


def test_img2dataset_layout(make_tar, encoded):
    red, blue = encoded("red"), encoded("blue", "PNG")
    path = make_tar(
        "00000.tar",
        [
            ("000000000.jpg", red),
            ("000000000.txt", b" a red field\n"),
            ("000000000.json", b'{"caption": "not this one"}'),
            ("000000001.PNG", blue),
            ("000000001.json", json.dumps({"caption": "a blue field"}).encode()),
        ],
    )
    records = _read(path)
    assert _facts(records) == [("000000000", "a red field", ""), ("000000001", "a blue field", "")]
    assert [record.image for record in records] == [red, blue]
    assert [record.image_key for record in records] == ["000000000", "000000001"]
    # A tar header is one block of 512 bytes: the first member's data begins there.
    assert records[0].location == ImageLocation(path, 512, len(red))
    assert read_image_bytes(records[1].location) == blue


def test_what_is_missing_is_named(make_tar, encoded):
    red = encoded("red")
    path = make_tar(
        "a.tar",
        [
            ("README", b"about this set"),
            ("0.jpg", red),
            ("1.txt", b"no picture"),
            ("2.jpg", red),
            ("2.txt", b" \n"),
            ("3.jpg", red),
            ("3.json", b'{"caption": null}'),
            ("4.jpg", red),
            ("4.json", b"[1, 2"),
            ("5.json", b'{"status": "failed_to_download"}'),
            ("6.cls", b"7"),
            (".DS_Store.txt", b"x"),
        ],
    )
    assert _facts(_read(path)) == [
        ("0", "", "missing caption"),
        ("1", "no picture", "missing image"),
        ("2", "", "empty caption"),
        ("3", "", "missing caption: no .txt, and no text under 'caption' in the .json"),
        ("4", "", "missing caption: no .txt, and the .json is not JSON"),
        ("5", "", "missing image"),
    ]


@pytest.mark.parametrize(
    "data, caption",
    [
        (b"a\x00b", "ab"),
        (b"caf\xe9 noir", "caf\ufffd noir"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        ("שלום 🎈".encode(), "שלום 🎈"),
        (b"x" * 2**20, "x" * 2**20),
    ],
    ids=["nul", "latin-1", "byte-order mark", "right-to-left and emoji", "1 MB"],
)
def test_captions_are_kept_as_valid_text(make_tar, encoded, data, caption):
    assert _facts(_read(make_tar("a.tar", [("0.jpg", encoded()), ("0.txt", data)]))) == [("0", caption, "")]


def test_unpaired_surrogate_in_json_can_be_written_as_utf8(make_tar, encoded):
    path = make_tar("a.tar", [("0.jpg", encoded()), ("0.json", rb'{"caption": "bad \ud800 half"}')])
    assert _facts(_read(path)) == [("0", "bad ? half", "")]


def test_only_nul_is_an_empty_caption(make_tar, encoded):
    assert _facts(_read(make_tar("a.tar", [("0.jpg", encoded()), ("0.txt", b"\x00")]))) == [("0", "", "empty caption")]


def test_doubled_keys_are_named_apart(make_tar, encoded):
    red, blue = encoded("red"), encoded("blue")
    pair = [("0.jpg", red), ("0.txt", b"one")]
    path = make_tar("a.tar", [*pair, ("0.jpg", blue), ("0.txt", b"two"), ("1.jpg", red), ("1.txt", b"x"), *pair])
    error = "doubled key: 0 came before in this tar"
    records = _read(path)
    assert _facts(records) == [("0", "one", ""), ("0~2", "two", error), ("1", "x", ""), ("0~3", "one", error)]
    assert records[1].image == blue


def test_folders_are_part_of_the_key_and_dots_end_it(make_tar, encoded):
    members = [
        ("./a/0.jpg", encoded()),
        ("./a/0.txt", b"x"),
        ("b/0.seg.png", encoded()),
        ("b/0.jpg", encoded()),
    ]
    assert _facts(_read(make_tar("a.tar", members))) == [("a/0", "x", ""), ("b/0", "", "missing caption")]


def test_links_are_not_followed(tmp_path, encoded):
    (tmp_path / "secret.jpg").write_bytes(encoded())
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("0.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.jpg")
        tar.addfile(link)
        tar.add(__file__, "0.txt")
    assert [record.error for record in _read(str(tmp_path / "a.tar"))] == ["missing image: a link in the tar"]


def _cut(path: str, size: int) -> str:
    os.truncate(path, size)
    return path


def test_truncated_tar_gives_what_it_has_and_says_so(make_tar, encoded):
    red = encoded("red")
    blocks = 512 + -(-len(red) // 512) * 512  # header and padded data of one image
    members = [(f"{i}.{suffix}", data) for i in range(2) for suffix, data in (("txt", b"x"), ("jpg", red))]
    first_sample = 1024 + blocks

    inside_data = _read(_cut(make_tar("data.tar", members), first_sample + 1024 + 512 + 10))
    assert [record.key for record in inside_data] == ["0", "1", "data~truncated"]
    assert [record.error for record in inside_data][:2] == ["", "missing image"]
    assert inside_data[2].error.startswith("truncated tar: ")

    # tarfile takes half a header for the end of the archive.
    inside_header = _read(_cut(make_tar("header.tar", members), first_sample + 100))
    assert [(record.key, record.error.split(":")[0]) for record in inside_header] == [
        ("0", ""),
        ("header~truncated", "truncated tar"),
    ]

    between_members = _read(_cut(make_tar("between.tar", members), first_sample))
    assert between_members[-1].error == (
        f"truncated tar: no end-of-archive mark where the members end, at byte {first_sample}"
    )


@pytest.mark.parametrize("data", [b"", b"not a tar at all" * 100])
def test_a_file_that_is_no_tar_is_one_record(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    (record,) = _read(str(tmp_path / "a.tar"))
    assert record.key == "a~truncated" and record.error.startswith("truncated tar: ")


def test_compressed_tars_are_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(gzip.compress(b"x"))
    with pytest.raises(ValueError, match=r"a.tar is compressed \(gzip\).*decompress"):
        WebDatasetSource(str(tmp_path / "a.tar"))


def test_parts_are_named_by_their_tars(make_tar, encoded, tmp_path):
    members = [("0.jpg", encoded()), ("0.txt", b"x")]
    for name in ("x/00000.tar", "y/00000.tar", "y/odd name!.tar"):
        make_tar(name, members)
    source = WebDatasetSource(str(tmp_path / "**" / "*.tar"), key_prefix=True)
    assert [part.name for part in source.parts] == ["00000_00000", "00001_00000", "odd_name_"]
    assert [part.index for part in source.parts] == [0, 1, 2]
    keys = [record.key for part in source.parts for record in source.read(part)]
    assert keys == ["00000_00000/0", "00001_00000/0", "odd_name_/0"]


def test_digest_changes_with_the_content_only(make_tar, encoded):
    path = make_tar("a.tar", [("0.jpg", encoded("red"))])
    before = _digest(path)
    os.utime(path, (1, 1))
    assert _digest(path) == before
    make_tar("a.tar", [("0.jpg", encoded("blue"))])
    assert _digest(path) != before


def test_tars_are_digested_once_and_only_when_asked(make_tar, encoded, monkeypatch):
    paths = [make_tar(f"{i}.tar", [("0.jpg", encoded())]) for i in range(2)]
    taken = []
    monkeypatch.setattr(source_files, "content_digest", lambda path: taken.append(path) or "0" * 32)
    source = WebDatasetSource(paths)
    assert taken == []
    assert [source.digest(source.parts[1]) for _ in range(2)] == ["0" * 32] * 2
    assert taken == paths[1:]


def test_a_tar_that_changes_is_noticed(make_tar, encoded):
    paths = [make_tar(f"{i}.tar", [("0.jpg", encoded())]) for i in range(4)]
    source = WebDatasetSource(paths)
    for part in source.parts:
        source.check_unchanged(part)
    size = os.path.getsize(paths[1])
    with open(paths[1], "ab") as file:
        file.write(b"more")
    os.utime(paths[2], (1, 1))
    os.remove(paths[3])
    source.check_unchanged(source.parts[0])
    with pytest.raises(ValueError, match=rf"1\.tar has changed since .*from {size} to {size + 4} bytes.*again"):
        source.check_unchanged(source.parts[1])
    with pytest.raises(ValueError, match=r"2\.tar has changed since this run began \(its time of change is another"):
        source.digest(source.parts[2])
    with pytest.raises(ValueError, match=r"3\.tar was there when this run began, but now: No such file"):
        source.check_unchanged(source.parts[3])
