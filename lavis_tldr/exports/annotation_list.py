"""LAVIS annotation lists of a reduced set, for ``ImageTextPairDataset`` and ``tldr_reduced``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from lavis_tldr.exports.pairs import iter_rows
from lavis_tldr.reduction.refinement import DRAWN


def annotation_rows(table: pa.Table, files: Mapping[str, str] | None = None) -> Iterator[dict]:
    """Annotations of ledger rows, in their order.

    ``image`` is the copy's path where images were copied. Where they were not, it is the source's own file;
    for a member of a tar it only names it, and ``tar``, ``offset`` and ``size`` say where ``tldr_reduced``
    reads it in place.

    Args:
        table: Kept ledger rows.
        files: Path of each copied image, by image key; None where images stay where they are.

    Yields:
        ``{"image", "key", "caption", "caption_original", "caption_generated"}``, the three of a tar, and where
        ``tldr_reduced`` is to draw one of the two captions ``caption_from``, "drawn": ``caption`` is both, joined,
        for who reads that field alone.
    """
    for row in iter_rows(table):
        captions = {name: row[name] for name in ("key", "caption", "caption_original", "caption_generated")}
        if row["caption_from"] == DRAWN:
            captions["caption_from"] = DRAWN
        if files is not None:
            yield {"image": files[row["image_key"]], **captions}
        elif row["image_offset"] >= 0:
            inside = {"tar": row["image_path"], "offset": row["image_offset"], "size": row["image_size"]}
            yield {"image": f"{row['image_key']}.jpg", **captions, **inside}
        else:
            yield {"image": row["image_path"], **captions}
