"""Tiny sources, made in the test's own folder."""

import io
import tarfile

import pytest


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
