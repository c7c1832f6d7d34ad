"""What the web puts into a set, from the source to the decoded image and the exported file, in each format."""

import io
import json
import os
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lavis_tldr.exports.images import export_images
from lavis_tldr.sources import build_source, decode_image, read_image_bytes

MEGABYTE = "a dog and a cat " * 2**16

CAPTIONS = {
    "nul": (b"a\x00b", "ab"),
    "latin-1": (b"caf\xe9", "caf\ufffd"),
    "right to left": ("שלום עולם \u200f(2)".encode(), "שלום עולם \u200f(2)"),
    "emoji": ("👩\u200d🚒 at 🏳️\u200d🌈".encode(), "👩\u200d🚒 at 🏳️\u200d🌈"),
    "lines": (b"two\nlines\tand a tab", "two\nlines\tand a tab"),
    "markup": (b'<script>"&amp;\\"</script>', '<script>"&amp;\\"</script>'),
    "1 MB": (MEGABYTE.encode(), MEGABYTE.strip()),
}


@pytest.fixture
def source_of(tmp_path, make_tar):
    """A source of ``(key, image bytes, caption bytes)`` in one of the formats; keys are file names without suffix."""

    def build(file_format: str, rows: list[tuple[str, bytes, bytes]]):
        if file_format == "webdataset":
            members = [
                (f"{key}.{kind}", data) for key, *both in rows for kind, data in zip(("jpg", "txt"), both, strict=True)
            ]
            return build_source({"format": "webdataset", "tars": make_tar("pool/t.tar", members)})
        root = tmp_path / "pool"
        root.mkdir()
        for key, image, _ in rows:
            (root / f"{key}.jpg").write_bytes(image)
        names = [f"{key}.jpg" for key, _, _ in rows]
        if file_format == "parquet":
            captions = pa.array([caption for *_, caption in rows], pa.binary())
            pq.write_table(pa.table({"image": names, "caption": captions}), root / "t.parquet")
            return build_source({"format": "parquet", "tables": str(root / "t.parquet"), "image_root": str(root)})
        # JSON holds no bytes: what is no UTF-8 was lost when it was written.
        texts = [caption.decode("utf-8", errors="replace") for *_, caption in rows]
        entries = [{"image": name, "caption": text} for name, text in zip(names, texts, strict=True)]
        (root / "t.json").write_text(json.dumps(entries))
        return build_source({"format": "lavis_json", "annotations": str(root / "t.json"), "image_root": str(root)})

    return build


def read_all(source):
    return [record for part in source.parts for record in source.read(part)]


def verdict(record) -> str:
    """What a record comes to: its error, or that of decoding its image from where it lies."""
    if record.error:
        return record.error
    try:
        assert decode_image(read_image_bytes(record.location)).mode == "RGB"
    except ValueError as error:
        return str(error)
    return ""


FORMATS = pytest.mark.parametrize("file_format", ["webdataset", "lavis_json", "parquet"])


@FORMATS
def test_captions_are_kept(source_of, encoded, file_format):
    source = source_of(file_format, [(str(i), encoded(), data) for i, (data, _) in enumerate(CAPTIONS.values())])
    records = read_all(source)
    assert [record.caption for record in records] == [caption for _, caption in CAPTIONS.values()]
    assert {record.error for record in records} == {""}
    for record in records:
        record.caption.encode("utf-8")  # can be stored


class MakesFolder:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def save(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of 14,000 x 14,000 black pixels, in some ten kilobytes."""
    return save(Image.new("1", (14_000, 14_000)), "PNG")


@FORMATS
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_of_every_kind(source_of, tmp_path, encoded, file_format):
    plain = Image.new("RGB", (8, 4), "red")
    turned = Image.Exif()
    turned[0x0112] = 6
    grey16 = Image.fromarray(np.full((4, 8), 30_000, np.uint16))
    harm = tmp_path / "made by a pickle"
    images = {
        "sixteen_bit": (save(grey16, "PNG"), ""),
        "cmyk": (save(plain.convert("CMYK"), "JPEG"), ""),
        "palette": (save(plain.convert("P"), "PNG"), ""),
        "one_bit": (save(plain.convert("1"), "PNG"), ""),
        "grey_alpha": (save(plain.convert("LA"), "PNG"), ""),
        "gif": (save(plain, "GIF", save_all=True, append_images=[Image.new("RGB", (8, 4), "blue")]), ""),
        "webp": (save(plain, "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 4), "blue")]), ""),
        "rotated": (save(plain, "JPEG", exif=turned), ""),
        "zero_bytes": (b"", "unreadable image: no bytes"),
        "bomb": (bomb(), "unreadable image: Image size (196000000 pixels) exceeds limit"),
        "pickle": (pickle.dumps(MakesFolder(str(harm))), "unreadable image: not an image of a known format"),
        "truncated": (encoded(size=(200, 200))[:700], "unreadable image: image file is truncated"),
        "html": (b"<html>404</html>", "unreadable image: not an image of a known format"),
    }
    records = read_all(source_of(file_format, [(name, data, b"x") for name, (data, _) in images.items()]))
    assert [os.path.splitext(record.key)[0] for record in records] == list(images)
    for record, (_, expected) in zip(records, images.values(), strict=True):
        assert verdict(record).startswith(expected) and bool(verdict(record)) == bool(expected), record.key
    assert not harm.exists()


def test_keys_that_lead_out_are_exported_inside(tmp_path, make_tar, encoded):
    names = ["../../x", "/abs/x", "a/../../../y", "a/./b", "c\x01d", "é" * 120, "~root/z", "-rf"]
    members = [(f"{name}.{kind}", data) for name in names for kind, data in (("jpg", encoded()), ("txt", b"x"))]
    (source,) = [build_source({"format": "webdataset", "tars": make_tar("in/t.tar", members)})]
    records = read_all(source)
    assert [record.error for record in records] == [""] * len(names)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    out = tmp_path / "deep" / "out"
    done = export_images([(record.key, record.location) for record in records], out)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert written == {out / name for name in done.files.values()} and len(written) == len(names)
    assert all(out in path.resolve().parents for path in written)


def test_a_link_to_a_file_outside_is_never_read(tmp_path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("0.jpg", tarfile.SYMTYPE), ("0.txt", tarfile.SYMTYPE), ("1.txt", tarfile.LNKTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
    for record in read_all(build_source({"format": "webdataset", "tars": str(path)})):
        assert (record.caption, record.image, record.location) == ("", None, None)
        assert record.error.startswith("missing image")
