"""Tiny sources, made in the test's own folder."""

import io
import tarfile

import pytest
from PIL import Image


@pytest.fixture
def encoded():
    """Encode a plain image: ``encoded("red", "PNG", mode="RGB", size=(8, 4))``."""

    def encode(colour="red", file_format="JPEG", *, mode="RGB", size=(8, 4), **options) -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, size, colour).save(buffer, file_format, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def make_tar(tmp_path):
    """Write a plain tar of ``(name, bytes)`` members and return its path."""

    def make(name: str, members: list[tuple[str, bytes]]) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member, data in members:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return str(path)

    return make
