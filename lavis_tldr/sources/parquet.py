"""Parquet tables of captions with images, or with images' paths.

Such are img2dataset's (``--output_format parquet``, or its tables beside the images' own files), Hugging Face's and
what `lavis-tldr export --format parquet` writes. An image with one caption has its row's key; one with several, in a
list, gives the pairs ``KEY#0``, ``KEY#1``, ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import TypeVar

import pyarrow as pa

from lavis_tldr.sources.image_folder import ImageFolder
from lavis_tldr.sources.images import MAX_BYTES
from lavis_tldr.sources.keys import KeyRegister
from lavis_tldr.sources.parquet_file import iter_rows, table_shape
from lavis_tldr.sources.parquet_layout import Layout, Row, find_layout
from lavis_tldr.sources.record import METADATA, ImageLocation, Part, Record
from lavis_tldr.sources.source_files import SourceFiles, check_part_size, find_files, part_names
from lavis_tldr.sources.table_images import can_hold_images, image_size, read_image

_STATUS_COLUMNS = ("status", "error_message")  # img2dataset's; other tables need not have them
_NUM_TRIED = 100  # images of a table with a tar beside it
_NO_IMAGE = None, None, ""
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class _Slice:
    columns: list[str]
    start: int
    stop: int


class ParquetSource:
    """Image-text pairs of Parquet tables; a part is a table, or a slice of ``part_size`` rows of a longer one.

    A row with a ``status`` other than "success" is a record with an error.

    Args:
        tables: Path, glob or brace pattern of the tables, or a list of them.
        image_root: Folder that the image paths start from; not needed where the tables have the images inside.
        image: Column of images (a struct with ``bytes``, or bytes) or of image paths, or a pattern of paths with
            columns and the stem of the table's file name in braces, as in ``"{table}/{key}.jpg"``. If not given: the
            first column with images of image_path, image, path, file_name, jpg, jpeg, png, webp; if there is none, that
            pattern for tables with img2dataset's columns ``key`` and ``status``, else the first column there is of
            image_path, image, path, file_name.
        caption: Column of captions or of lists of them.
        key: Column of keys; if not given ``key`` where there is such a column, else the image path, or for images
            inside a table ``TABLE[ROW]``.
        part_size: Rows in a part.

    Raises:
        ValueError: If a table, a column or the root is missing, or the images lie in a tar beside a table.
    """

    def __init__(
        self,
        tables: str | Iterable[str],
        image_root: str | None = None,
        *,
        image: str | None = None,
        caption: str = "caption",
        key: str | None = None,
        part_size: int = 10_000,
    ) -> None:
        self.tables = tables if isinstance(tables, str) else [str(pattern) for pattern in tables]
        self.part_size = check_part_size(part_size)
        paths = find_files(self.tables, "tables")
        self._files = SourceFiles(paths)
        with ThreadPoolExecutor(max_workers=8) as pool:
            shapes = list(pool.map(table_shape, paths))
        self._layout = layout = find_layout(paths[0], shapes[0][0], image, caption, key)
        for path, (names, _) in zip(paths, shapes, strict=True):
            _check_columns(path, names, layout)
        self._folder = None if layout.is_inside else _folder(image_root, layout, paths[0])
        self._table_names = dict(zip(paths, part_names([_stem(path) for path in paths]), strict=True))
        self._divide(paths, shapes)
        if self._folder:
            self._refuse_what_lies_in_tars(self._folder)

    def _divide(self, paths: list[str], shapes: list[tuple[list[str], int]]) -> None:
        stems, places = [], []
        self._slices: list[_Slice] = []  # by part
        for path, (names, num_rows) in zip(paths, shapes, strict=True):
            others = [name for name in (*_STATUS_COLUMNS, *METADATA) if names.count(name) == 1]
            columns = list(dict.fromkeys([*self._layout.columns, *others]))
            for start in range(0, num_rows, self.part_size):
                long = num_rows > self.part_size
                stems.append(f"{_stem(path)}-{start // self.part_size:05d}" if long else _stem(path))
                places.append(path)
                self._slices.append(_Slice(columns, start, min(start + self.part_size, num_rows)))
        if not stems:
            raise ValueError(f"The {len(paths)} tables have no rows (first: {paths[0]}).")
        named = zip(part_names(stems), places, strict=True)
        self.parts = [Part(index, name, path) for index, (name, path) in enumerate(named)]

    def read(self, part: Part, images: bool = True) -> Iterator[Record]:
        """Records of one slice; without ``images``, the images' files are only looked for.

        A table that breaks off gives the rows it has and then one record with the key ``<part name>~damaged`` and
        the error ``"damaged table: ..."``. A key that came before in the part is given as ``KEY~2`` with the error
        ``"doubled key"``.
        """
        keys = KeyRegister()

        def find(number: int, row: Row) -> tuple[bytes | None, ImageLocation | None, str]:
            if row.error:
                return _NO_IMAGE
            return self._folder.read(row.image, images) if self._folder else self._inside(part.path, number, images)

        for row, found in self._rows(part, find):
            image, location, problem = found or _NO_IMAGE
            for i, (caption, caption_error) in enumerate(row.captions):
                wanted = f"{row.key}#{i}" if len(row.captions) > 1 else row.key
                key, doubled = keys.claim(wanted)
                doubled_error = f"doubled key: {wanted} came before in this part" if doubled else ""
                error = row.error or problem or caption_error or doubled_error
                yield Record(key, row.key, caption, error, location, image, **row.metadata)

    def _inside(self, table: str, number: int, images: bool) -> tuple[bytes | None, ImageLocation | None, str]:
        """``(bytes, location, error)`` of the image in a table's row."""
        size = image_size(table, self._layout.image, number)
        if not size:
            return None, None, "missing image"
        if size > MAX_BYTES:
            return None, None, f"unreadable image: more than {MAX_BYTES} bytes"
        data = read_image(table, self._layout.image, number, size) if images else None
        return data, ImageLocation.in_table(table, self._layout.image, number, size), ""

    def digest(self, part: Part) -> str:
        """Digest of the table, of where in it the part is, and of the size of each image that is a file of its own.

        Such an image is noticed when another of another size replaces it; its bytes are not read.
        """
        piece = self._slices[part.index]
        digest = blake2b(f"{self._files.digest(part.path)} {piece.start} {piece.stop}".encode(), digest_size=16)
        if folder := self._folder:
            for _, size in self._rows(part, lambda _, row: folder.size(row.image)):
                digest.update(b" %d" % (-1 if size is None else size))
        return digest.hexdigest()

    def check_unchanged(self, part: Part) -> None:
        self._files.check_unchanged(part.path)

    def describe(self) -> dict:
        return {
            "format": "parquet",
            "tables": self.tables,
            "image_root": self._folder.root if self._folder else None,
            "image": self._layout.image,
            "caption": self._layout.caption,
            "key": self._layout.key,
            "part_size": self.part_size,
            "num_parts": len(self.parts),
        }

    def _rows(self, part: Part, find: Callable[[int, Row], _Found]) -> Iterator[tuple[Row, _Found | None]]:
        """Rows of a part, each with what ``find`` has found by its number and itself; None for a table's damage."""
        piece, table = self._slices[part.index], _stem(part.path)
        # A key that stands for an image must not depend on how the table is divided.
        place = self._table_names[part.path] if self._layout.is_inside else part.name
        try:
            for number, values in iter_rows(part.path, piece.columns, piece.start, piece.stop):
                row = self._layout.row(values, table, f"{place}[{number}]")
                yield row, find(number, row)
        except (pa.ArrowException, OSError) as error:
            reason = f"damaged table: {' '.join(str(error).split())}"
            yield Row(f"{part.name}~damaged", "", [("", "")], reason), None

    def _refuse_what_lies_in_tars(self, folder: ImageFolder) -> None:
        """Say so if the images are in a tar beside the table, as img2dataset writes them for WebDataset."""
        for part in self.parts:
            tar = os.path.splitext(part.path)[0] + ".tar"
            if not os.path.isfile(tar):
                continue
            rows = (row for row, _ in self._rows(part, lambda *_: None) if not row.error)
            sizes = [folder.size(row.image) for row in islice(rows, _NUM_TRIED)]
            if sizes and max(sizes) < 0:
                raise ValueError(
                    f"None of the first {len(sizes)} images of {part.path} are files under {folder.root}, but "
                    f"{tar} lies beside it: to read the images out of the tars, use {{format: webdataset, tars: ...}}."
                )
            return  # the other tables will be as this one


def _folder(image_root: str | None, layout: Layout, path: str) -> ImageFolder:
    if image_root:
        return ImageFolder(image_root)
    raise ValueError(
        f"The parquet source's config lacks 'image_root', the folder that the image paths {layout.image} of {path} "
        "start from. Only tables with the images inside do without."
    )


def _check_columns(path: str, names: list[str], layout: Layout) -> None:
    if layout.is_inside and not can_hold_images(path, layout.image):
        raise ValueError(
            f"{path} has the columns {', '.join(names)}, and no images in {layout.image!r}, where the first table has "
            "them: all tables of a source must be alike. Leave it out, or make it a source of its own."
        )
    for name in layout.columns:
        if names.count(name) != 1:
            how = "more than once" if name in names else "not"
            raise ValueError(
                f"{path} has the columns {', '.join(names)}, and {name!r} {how} among them; expected it once in each "
                f"table, for images {layout.image}, captions {{{layout.caption}}} and keys "
                f"{{{layout.key}}}. Name the tables' own columns as `image`, `caption` and `key` in the source's "
                "config."
            )


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
