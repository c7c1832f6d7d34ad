"""Images as files of their own under one folder."""

from __future__ import annotations

import os
import stat

from lavis_tldr.sources.images import MAX_BYTES
from lavis_tldr.sources.record import ImageLocation


class ImageFolder:
    """Finds images by their paths from ``root``, and none outside it.

    Raises:
        ValueError: If ``root`` is no folder.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = os.path.abspath(os.path.expanduser(str(root)))
        if not os.path.isdir(self.root):
            raise ValueError(f"image_root {self.root!r} is no folder. Give the folder that the image paths start from.")

    def read(self, image: str, images: bool) -> tuple[bytes | None, ImageLocation | None, str]:
        """``(bytes, location, error)`` of an image; without ``images`` the bytes are None, and not read."""
        path, problem = self._inside(image)
        if problem:
            return None, None, problem
        try:
            found = os.stat(path)
            # Only plain files: opening a pipe would wait for ever.
            if not stat.S_ISREG(found.st_mode):
                return None, None, "missing image"
            if found.st_size > MAX_BYTES:
                return None, None, f"unreadable image: more than {MAX_BYTES} bytes"
            if not images:
                if not os.access(path, os.R_OK):
                    return None, None, "unreadable image: Permission denied"
                return None, ImageLocation(path), ""
            with open(path, "rb") as file:
                return file.read(), ImageLocation(path), ""
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no name that a file can have
            return None, None, "missing image"
        except OSError as error:
            return None, None, f"unreadable image: {error.strerror}"

    def size(self, image: str) -> int:
        """Bytes of an image's file; -1 where there is none."""
        path, problem = self._inside(image)
        try:
            return -1 if problem else os.stat(path).st_size
        except (OSError, ValueError):
            return -1

    def _inside(self, image: str) -> tuple[str, str]:
        """``(path, error)``."""
        inside = os.path.normpath(image)
        if not image or os.path.isabs(inside) or inside.split(os.sep)[0] == ".." or "\x00" in image:
            return "", "image path leaves the image root"
        return os.path.join(self.root, inside), ""
