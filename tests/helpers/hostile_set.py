"""Tars such as a crawl of the web brings, and what a reduction is to make of each sample."""

import io
import os
import pickle
import struct
import tarfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

PLAIN = b"a plain caption"
MEGABYTE = ("a dog and a cat and " * 60_000)[: 2**20].strip()


@dataclass(frozen=True)
class Sample:
    """Members of one key, and the start of the reason that the ledger is to give.

    Attributes:
        caption: The caption to expect in the ledger.
        twin: Key of a plain sample with the same pixels.
        ending: Start of the ledger's reason.
    """

    name: str
    image: bytes
    text: bytes = PLAIN
    caption: str = PLAIN.decode()
    ending: str = "kept"
    twin: str = ""

    @property
    def key(self) -> str:
        return self.name.rpartition(".")[0].replace("\n", "\\n")


class SideEffect:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def scene(seed: int = 0, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """Grey noise, the same in every mode that can hold it."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 1), np.uint8)
    return Image.fromarray(noise.repeat(3, axis=2))


def encoded(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def images(effect: Path) -> list[Sample]:
    """Images of odd kinds; ``effect`` is the folder that a pickle among them makes if it is ever loaded."""
    still, wide = scene(1), scene(2, (48, 16))
    frames = {"save_all": True, "append_images": [scene(3), scene(4)], "duration": 50}
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees clockwise for viewing
    grey16 = Image.fromarray(np.asarray(still.convert("L")).astype(np.uint16) * 257)
    jpeg = encoded(still, "JPEG")
    unreadable = "failed: unreadable image: "
    return [
        Sample("still.png", encoded(still)),
        Sample("wide.png", encoded(wide)),
        Sample("sixteen_bit.png", encoded(grey16), twin="still"),
        Sample("palette.png", encoded(still.convert("L").convert("P")), twin="still"),
        Sample("cmyk.jpg", encoded(still.convert("CMYK"), "JPEG")),
        Sample("loop.gif", encoded(still.convert("L"), "GIF", **frames), twin="still"),
        Sample("film.webp", encoded(still, "WEBP", lossless=True, **frames), twin="still"),
        Sample("turned.png", encoded(wide.transpose(Image.Transpose.ROTATE_90), exif=turned), twin="wide"),
        Sample("bomb.png", _bomb(10_000), ending=f"{unreadable}10000 x 10000 pixels, more than"),
        Sample("huge_bomb.png", _bomb(60_000), ending=f"{unreadable}Image size (3600000000 pixels) exceeds"),
        Sample("pickle.jpg", pickle.dumps(SideEffect(effect)), ending=f"{unreadable}not an image"),
        Sample("broken_off.jpg", jpeg[: len(jpeg) // 2], ending=unreadable),
        Sample("page.jpg", b"<html>404</html>", ending=f"{unreadable}not an image"),
        Sample("nothing.jpg", b"", ending=f"{unreadable}no bytes"),
    ]


def captions() -> list[Sample]:
    bidirectional = "كلب يركض \u202e in the park"
    family = "👩\u200d👩\u200d👧 on a 🏖\ufe0f"
    quoting = 'a "dog"], {"image": "x"}\\ \r\n\t\u2028 two'
    kinds = [
        ("nul", b"a dog\x00 runs", "a dog runs"),
        ("megabyte", MEGABYTE.encode(), MEGABYTE),
        ("latin1", b"caf\xe9 by the sea", "caf\ufffd by the sea"),
        ("right_to_left", bidirectional.encode(), bidirectional),
        ("emoji", family.encode(), family),
        ("quotes", quoting.encode(), quoting),
    ]
    drawn = [
        Sample(f"{name}.png", encoded(scene(10 + i)), text, caption) for i, (name, text, caption) in enumerate(kinds)
    ]
    return [*drawn, Sample("only_nul.png", encoded(scene(9)), b"\x00\x00", "", ending="failed: empty caption")]


def names() -> list[Sample]:
    """Keys that try to leave the folder that images are exported to, or that trouble a file system."""
    keys = ["../../x", "/abs/x", "a/../../../y", "\\\\host\\z", "C:\\w", "-rf", "con", "n" * 300, "two\nlines", "é"]
    return [Sample(f"{key}.png", encoded(scene(20 + i))) for i, key in enumerate(keys)]


def write_tar(path: Path, samples: list[Sample], *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for sample in samples:
            stem = sample.name.rpartition(".")[0]
            for name, data in ((sample.name, sample.image), (f"{stem}.txt", sample.text)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        for info in more:
            tar.addfile(info)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@cache
def _bomb(side: int) -> bytes:
    """A PNG that is small until it is decoded: ``side`` x ``side`` black pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # one bit a pixel
    row = bytes(1 + side // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join([packer.compress(row * 100) for _ in range(side // 100)]) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
