"""Build: the ledger of all samples and the reduced set that LAVIS trains on."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lavis.common.dist_utils import is_main_process

from lavis_tldr.reduction.ledger import join_by_key, reasons, write_ledger
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import ImageLocation
from lavis_tldr.sources.annotations import export_images, write_annotations
from lavis_tldr.tasks.stages import encode, refine, select
from lavis_tldr.tasks.stages.context import Context, finish_on_first

LEDGER, ANNOTATIONS, KEYS, IMAGES = "ledger.parquet", "annotations.json", "keys.txt", "images"


def stage_of(context: Context) -> Stage:
    return context.stage("build", {"images": context.config.images}, {"refine": refine.stage_of(context).digest})


def run(context: Context, stage: Stage) -> None:
    """Write the ledger, the annotations, the keep-list and, with ``images: export``, the kept images.

    ``build/ledger.parquet``, ``build/keys.txt``, ``build/annotations.json`` and ``build/images/``: the folder
    ``build`` is what ``tldr_reduced`` is given as its path.
    """
    started = time.monotonic()
    counts = {}
    if is_main_process():
        ledger = _ledger(context)
        rows = _annotations(context, ledger, stage.folder)
        with stage.write(LEDGER) as path:
            write_ledger(ledger, path)
        with stage.write(ANNOTATIONS) as path:
            write_annotations(path, rows)
        with stage.write(KEYS) as path:
            path.write_text("".join(f"{row['key']}\n" for row in rows), encoding="utf-8")
        counts = {"read": ledger.num_rows, "written": len(rows)}
    finish_on_first(stage, counts, time.monotonic() - started)


def _ledger(context: Context) -> pa.Table:
    source = encode.stage_of(context)
    columns = ["key", "image_key", "caption_original", "error", "image_path", "image_offset", "image_size"]
    parts = []
    for name in context.part_names:
        part = context.load_part(source, name, columns)
        parts.append(part.append_column("part", pa.array([name] * part.num_rows, pa.string())))
    table = pa.concat_tables(parts)
    selection = pq.read_table(select.stage_of(context).folder / "selection.parquet")
    table = join_by_key(table, selection, left_name="encode", right_name="selection", partial=True)
    refined = context.load(refine.stage_of(context), ["key", "caption_generated", "caption", "caption_from"])
    table = join_by_key(table, refined, left_name="encode", right_name="refine", partial=True)
    for name, fill in (
        ("cluster", -1),
        ("distance", np.nan),
        ("alignment", np.nan),
        ("kept", False),
        ("duplicate_of", ""),
        ("caption_generated", ""),
        ("caption", ""),
        ("caption_from", ""),
    ):
        index = table.column_names.index(name)
        table = table.set_column(index, name, table[name].fill_null(fill))
    alignment = table["alignment"].to_numpy() if context.config.selection == "aligned" else None
    why = reasons(
        table["error"].to_pylist(),
        table["kept"].to_numpy(),
        duplicate_of=table["duplicate_of"].to_pylist(),
        alignment=alignment,
    )
    return table.append_column("reason", pa.array(why)).drop_columns(["duplicate_of"])


def _annotations(context: Context, ledger: pa.Table, folder: Path) -> list[dict]:
    """Annotation rows of the kept samples, sorted by key.

    Raises:
        ValueError: If an image to export has gone missing.
    """
    kept = ledger.filter(ledger["kept"]).sort_by("key").to_pylist()
    place = {r["image_key"]: ImageLocation(r["image_path"], r["image_offset"], r["image_size"]) for r in kept}
    files: dict[str, str] = {}
    if context.config.images == "export":
        exported = export_images(place.items(), folder / IMAGES)
        files, lost = exported.files, exported.errors
        if lost:
            key, why = next(iter(lost.items()))
            raise ValueError(
                f"{len(lost)} kept images have gone missing since they were encoded (first: {key!r}, {why}). "
                "Restore them, or run again from encode in a new run folder."
            )
    rows = []
    for row in kept:
        entry = {name: row[name] for name in ("key", "caption", "caption_original", "caption_generated")}
        if context.config.images == "export":
            entry = {"image": files[row["image_key"]], **entry}
        elif row["image_offset"] >= 0:
            inside = {"tar": row["image_path"], "offset": row["image_offset"], "size": row["image_size"]}
            entry = {"image": f"{row['image_key']}.jpg", **entry, **inside}
        else:
            entry = {"image": row["image_path"], **entry}
        rows.append(entry)
    return rows
