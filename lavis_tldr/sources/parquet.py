"""Parquet tables of image paths and captions, such as img2dataset writes beside the images it downloads.

An image with one caption has its row's key; one with several, in a list, gives the pairs ``KEY#0``, ``KEY#1``, ...
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

import pyarrow as pa

from lavis_tldr.sources.image_folder import ImageFolder
from lavis_tldr.sources.keys import KeyRegister
from lavis_tldr.sources.parquet_file import iter_rows, table_shape
from lavis_tldr.sources.parquet_layout import IMAGE_COLUMNS, Layout, Row, find_layout
from lavis_tldr.sources.record import Part, Record
from lavis_tldr.sources.source_files import SourceFiles, check_part_size, find_files, part_names

_STATUS_COLUMNS = ("status", "error_message")  # img2dataset's; other tables need not have them
_NUM_TRIED = 100  # images of a table with a tar beside it


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
        image_root: Folder that the image paths start from.
        image: Column of image paths, or a pattern of them with columns and the stem of the table's file name in
            braces, as in ``"{table}/{key}.jpg"``. If not given: that pattern for tables with img2dataset's columns
            ``key`` and ``status``, else the first column there is of image_path, image, path, file_name.
        caption: Column of captions or of lists of them.
        key: Column of keys; if not given ``key`` where there is such a column, else the image path.
        part_size: Rows in a part.

    Raises:
        ValueError: If a table, a column or the root is missing, or the images lie in a tar beside a table.
    """

    def __init__(
        self,
        tables: str | Iterable[str],
        image_root: str,
        *,
        image: str | None = None,
        caption: str = "caption",
        key: str | None = None,
        part_size: int = 10_000,
    ) -> None:
        self.tables = tables if isinstance(tables, str) else [str(pattern) for pattern in tables]
        self.part_size = check_part_size(part_size)
        self._folder = ImageFolder(image_root)
        paths = find_files(self.tables, "tables")
        self._files = SourceFiles(paths)
        with ThreadPoolExecutor(max_workers=8) as pool:
            shapes = list(pool.map(table_shape, paths))
        layout = find_layout(shapes[0][0], image, caption, key)
        if layout is None:
            raise ValueError(
                f"{paths[0]} has the columns {', '.join(shapes[0][0])}; expected one of {', '.join(IMAGE_COLUMNS)} "
                "with the images' paths. Name its column, or a pattern such as '{key}.jpg', as `image` in the "
                "source's config."
            )
        self._layout = layout
        for path, (names, _) in zip(paths, shapes, strict=True):
            _check_columns(path, names, layout)
        self._divide(paths, shapes)
        self._refuse_what_lies_in_tars()

    def _divide(self, paths: list[str], shapes: list[tuple[list[str], int]]) -> None:
        stems, places = [], []
        self._slices: list[_Slice] = []  # by part
        for path, (names, num_rows) in zip(paths, shapes, strict=True):
            columns = list(dict.fromkeys([*self._layout.columns, *(name for name in _STATUS_COLUMNS if name in names)]))
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
        for row in self._rows(part):
            image, location, problem = (None, None, "") if row.error else self._folder.read(row.image, images)
            for i, (caption, caption_error) in enumerate(row.captions):
                wanted = f"{row.key}#{i}" if len(row.captions) > 1 else row.key
                key, doubled = keys.claim(wanted)
                doubled_error = f"doubled key: {wanted} came before in this part" if doubled else ""
                error = row.error or problem or caption_error or doubled_error
                yield Record(key, row.key, caption, error, location, image)

    def digest(self, part: Part) -> str:
        """Digest of the table, of where in it the part is, and of each image file's size.

        An image replaced by one of another size is noticed so; the images' bytes are not read.
        """
        piece = self._slices[part.index]
        digest = blake2b(f"{self._files.digest(part.path)} {piece.start} {piece.stop}".encode(), digest_size=16)
        for row in self._rows(part):
            digest.update(b" %d" % self._folder.size(row.image))
        return digest.hexdigest()

    def check_unchanged(self, part: Part) -> None:
        self._files.check_unchanged(part.path)

    def describe(self) -> dict:
        return {
            "format": "parquet",
            "tables": self.tables,
            "image_root": self._folder.root,
            "image": self._layout.image,
            "caption": self._layout.caption,
            "key": self._layout.key,
            "part_size": self.part_size,
            "num_parts": len(self.parts),
        }

    def _rows(self, part: Part) -> Iterator[Row]:
        piece, table = self._slices[part.index], _stem(part.path)
        try:
            for number, values in iter_rows(part.path, piece.columns, piece.start, piece.stop):
                yield self._layout.row(values, table, f"{part.name}[{number}]")
        except (pa.ArrowException, OSError) as error:
            reason = f"damaged table: {' '.join(str(error).split())}"
            yield Row(f"{part.name}~damaged", "", [("", "")], reason)

    def _refuse_what_lies_in_tars(self) -> None:
        """Say so if the images are in a tar beside the table, as img2dataset writes them for WebDataset."""
        for part in self.parts:
            tar = os.path.splitext(part.path)[0] + ".tar"
            if not os.path.isfile(tar):
                continue
            rows = islice((row for row in self._rows(part) if not row.error), _NUM_TRIED)
            sizes = [self._folder.size(row.image) for row in rows]
            if sizes and max(sizes) < 0:
                raise ValueError(
                    f"None of the first {len(sizes)} images of {part.path} are files under {self._folder.root}, but "
                    f"{tar} lies beside it: to read the images out of the tars, use {{format: webdataset, tars: ...}}."
                )
            return  # the other tables will be as this one


def _check_columns(path: str, names: list[str], layout: Layout) -> None:
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
