"""Tars as the web brings them: damaged, hostile, or with members that are no plain files."""

import io
import os
import struct
import tarfile

import pytest

from lavis_tldr.sources import WebDatasetSource, read_image_bytes
from lavis_tldr.sources import tar_walk as tar_walk_module
from lavis_tldr.sources.tar_walk import TarWalk

END = bytes(1024)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> bytes:
    """A ustar header block with a right checksum, whatever its fields say."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    # Numbers that octal digits can't say are in base 256, signed.
    block[124:136] = b"%011o\0" % size if 0 <= size < 8**11 else size.to_bytes(12, "big", signed=True)
    if size >= 8**11:
        block[124] |= 0x80
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(data), kind) + data + bytes(-len(data) % 512)


def pax(**fields: str) -> bytes:
    """A pax header for the next member; "__" in names stands for a dot."""
    records = b""
    for name, value in fields.items():
        rest = f" {name.replace('__', '.')}={value}\n".encode()
        length = len(rest) + len(str(len(rest)))
        length += len(str(length)) - len(str(len(rest)))
        records += f"{length}".encode() + rest
    return member("././@PaxHeader", records, tarfile.XHDTYPE)


def gnu_sparse(name: str, data: bytes, real_size: int) -> bytes:
    """A file in GNU's old sparse format: ``data`` at its start, then a hole up to ``real_size``."""
    block = bytearray(header(name, len(data), tarfile.GNUTYPE_SPARSE))
    block[257:265] = b"ustar  \0"
    block[386:410] = b"%011o\0%011o\0" % (0, len(data))
    block[483:495] = b"%011o\0" % real_size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


@pytest.fixture
def tars(encoded):
    """Tars by name: ordinary ones, and of every kind of damage."""
    red, blue = encoded("red"), encoded("blue", "PNG", size=(40, 40))
    one = member("0.jpg", red) + member("0.txt", b"one")
    two = member("1.txt", b"two") + member("1.png", blue)
    full = member("2.txt", b"x") + member("2.jpg", bytes(512))  # ends where its block does
    sparse_name = {"GNU__sparse__major": "1", "GNU__sparse__minor": "0", "GNU__sparse__name": "1.jpg"}
    return {
        "good": one + two + END,
        "zero bytes": one + member("1.jpg", b"") + member("1.txt", b"none") + END,
        "doubled": one + one + two + END,
        "no end": one + two,
        "cut in an image": one + two[: -len(two) // 3],
        "cut in a caption": one + header("1.txt", 600) + b"a" * 599,
        "cut in a header": one + two[:300],
        "cut in the padding": one + member("1.txt", b"two")[:600],
        "cut behind full blocks": one + full,
        "one byte short": one + full[:-1],
        "damaged header": one + b"\xff" * 512 + two + END,
        "empty": b"",
        "no tar": b"<html>404</html>" * 100,
        "only an end": END,
        "size beyond the file": one + header("1.jpg", 10**9) + two + END,
        "size beyond reason": one + header("1.jpg", 2**80) + two + END,
        "negative size": one + header("1.jpg", -512) + two + END,
        "negative size at the start": header("1.jpg", -1024) + two + END,
        "negative pax header": one + header("././@PaxHeader", -512, tarfile.XHDTYPE) + two + END,
        "links": one
        + header("1.jpg", 0, tarfile.SYMTYPE, "/etc/passwd")
        + header("1.txt", 0, tarfile.LNKTYPE, "0.txt")
        + header("2.jpg", 0, tarfile.LNKTYPE, "0.jpg")
        + member("2.txt", b"x")
        + END,
        "no plain files": header("1.jpg", 0, tarfile.CHRTYPE)
        + header("1.txt", 0, tarfile.FIFOTYPE)
        + header("2.jpg/", 0, tarfile.DIRTYPE)
        + one
        + END,
        "sparse": gnu_sparse("1.jpg", red, 2**32)
        + member("1.txt", b"x")
        + gnu_sparse("2.txt", b"x", 2**32)
        + one
        + END,
        "pax sparse": pax(**sparse_name, GNU__sparse__realsize=str(2**50))
        + member("GNUSparseFile.0/1.jpg", b"1\n0\n10\n".ljust(512, b"\0") + red)
        + member("1.txt", b"x")
        + END,
        "damaged pax sparse": pax(**sparse_name) + member("1.jpg", b"x" * 512) + one + END,
        "pax names": pax(path="ключ 🎈.jpg") + member("x", red) + pax(path="ключ 🎈.txt") + member("y", b"pax") + END,
        "many pax headers": one + pax(comment="x") * 2000 + two + END,
    }


NAMES = [
    "good",
    "zero bytes",
    "doubled",
    "no end",
    "cut in an image",
    "cut in a caption",
    "cut in a header",
    "cut in the padding",
    "cut behind full blocks",
    "one byte short",
    "damaged header",
    "empty",
    "no tar",
    "only an end",
    "size beyond the file",
    "size beyond reason",
    "negative size",
    "negative size at the start",
    "negative pax header",
    "links",
    "no plain files",
    "sparse",
    "pax sparse",
    "damaged pax sparse",
    "pax names",
    "many pax headers",
]


def records_of(tmp_path, content: bytes, images: bool = True):
    path = tmp_path / "t.tar"
    path.write_bytes(content)
    source = WebDatasetSource(str(path))
    return list(source.read(source.parts[0], images=images))


def facts(records):
    return [(record.key, record.image_key, record.caption, record.error, record.location) for record in records]


def test_every_tar_is_tried(tars):
    assert sorted(tars) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_with_or_without_images_the_records_are_the_same(tmp_path, tars, name):
    full = records_of(tmp_path, tars[name])
    light = records_of(tmp_path, tars[name], images=False)
    assert facts(light) == facts(full)
    assert all(record.image is None for record in light)
    for record in full:
        assert (record.image is None) == (record.location is None)
        if record.location is not None:
            assert read_image_bytes(record.location) == record.image


def test_all_members_of_damaged_tars_are_accounted_for(tmp_path, tars):
    def said(name):
        return [(record.key, record.error) for record in records_of(tmp_path, tars[name])]

    start = ("0", "")
    end = "t~truncated"
    assert said("good") == [start, ("1", "")]
    assert said("zero bytes") == [start, ("1", "")]  # that nothing is no image is seen when it is decoded
    assert said("doubled") == [start, ("0~2", "doubled key: 0 came before in this tar"), ("1", "")]
    marks = {name: said(name)[-1] for name in ("no end", "cut behind full blocks", "cut in a header", "damaged header")}
    for key, error in marks.values():
        assert key == end and error.startswith("truncated tar: no end-of-archive mark where the members end, at byte ")
    assert said("one byte short") == [
        start,
        ("2", "missing image"),
        (end, "truncated tar: '2.jpg' has 511 of 512 bytes"),
    ]
    assert said("cut in a caption") == [start, (end, "truncated tar: '1.txt' has 599 of 600 bytes")]
    assert said("only an end") == []
    for name in ("empty", "no tar"):
        ((key, error),) = said(name)
        assert key == end and error.startswith("truncated tar: ")
    (first, (key, error)) = said("size beyond the file")
    assert first == start and error.startswith("truncated tar: '1.jpg' has ") and error.endswith("of 1000000000 bytes")
    for name in ("negative size", "negative size at the start", "negative pax header", "size beyond reason"):
        assert said(name)[-1][0] == end, name
    assert said("links") == [
        start,
        ("1", "missing image: a link in the tar"),
        ("2", "missing image: a link in the tar"),
    ]
    assert said("no plain files") == [("1", "missing image: no plain file in the tar"), start]
    assert said("sparse") == [
        ("1", "missing image: a sparse file in the tar"),
        ("2", "missing image"),
        start,
    ]
    assert said("pax sparse") == [("1", "missing image: a sparse file in the tar")]
    assert said("damaged pax sparse")[-1][0] == end
    assert said("pax names") == [("ключ 🎈", "")]
    assert said("many pax headers")[-1][0] == end


def test_names_that_lead_out_stay_keys(tmp_path, encoded):
    names = ["../../x", "/abs/x", "a/../../y"]
    content = b"".join(member(f"{name}.jpg", encoded()) + member(f"{name}.txt", b"x") for name in names) + END
    assert [(record.key, record.error) for record in records_of(tmp_path, content)] == [(name, "") for name in names]


def test_without_images_their_bytes_are_not_read(tmp_path):
    if not os.path.exists("/proc/self/io"):
        pytest.skip("this system does not count what a process reads")
    path = tmp_path / "big.tar"
    with open(path, "wb") as file:
        for i in range(4):
            file.write(header(f"{i}.jpg", 2**24))
            file.seek(2**24, os.SEEK_CUR)
            file.write(member(f"{i}.txt", b"big"))
        file.write(END)
    source = WebDatasetSource(str(path))

    def read_bytes():
        with open("/proc/self/io") as counts:
            return int(counts.readline().split()[1])

    before = read_bytes()
    assert [record.error for record in source.read(source.parts[0], images=False)] == [""] * 4
    # Eight headers, four captions and the end, of 512 bytes or less each, and the count itself.
    assert read_bytes() - before < 16 * 512


def test_members_are_not_kept(tmp_path):
    (tmp_path / "t.tar").write_bytes(b"".join(member(f"{i}.txt", b"x") for i in range(50)) + END)
    seen = []
    opened = tarfile.open

    def remember(*args, **options):
        seen.append(opened(*args, **options))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tar_walk_module.tarfile, "open", remember)
        assert len(list(TarWalk(str(tmp_path / "t.tar"), wants=lambda _: True))) == 50
    assert len(seen[0].members) <= 1


def test_a_member_too_large_for_an_image_is_not_read(tmp_path, encoded, monkeypatch):
    monkeypatch.setattr(tar_walk_module, "MAX_BYTES", 1000)
    content = member("0.jpg", bytes(1001)) + member("0.txt", b"x") + member("1.jpg", encoded()) + END
    assert [(record.key, record.error) for record in records_of(tmp_path, content)] == [
        ("0", "missing image: more than 1000 bytes"),
        ("1", "missing caption"),
    ]


def test_the_headers_made_here_are_sound():
    """What the other tests build on: tarfile itself reads these members."""
    content = member("a", b"1234") + gnu_sparse("b", b"56", 10) + pax(path="ñ") + member("c", b"7") + END
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [(info.name, tar.extractfile(info).read()) for info in tar] == [
            ("a", b"1234"),
            ("b", b"56" + bytes(8)),
            ("ñ", b"7"),
        ]
    assert struct.unpack(">I", header("a", -2)[132:136])[0] == 2**32 - 2
