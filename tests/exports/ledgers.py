"""Small finished reductions to export, made by hand from tars or files of plainly coloured images."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lavis_tldr.runs.ledger import SCHEMA
from lavis_tldr.sources import ImageLocation, Source, WebDatasetSource

BLANK = {"error": "", "cluster": 3, "reason": "kept", "kept": True, "understudy": 0}
NUMBERS = ("distance", "prototype_distance", "alignment", "score", "alignment_generated", "alignment_refined")
DROPPED = {"kept": False, "reason": "dropped: not drawn", "caption": "", "caption_from": "", "caption_generated": ""}
HOSTILE_KEYS = [
    *("../../x", "/abs/x", ".", "..", "a/../../../x", "a//b", ".hidden", "a.b/c.d.e", "__meta__/x", "__x__", "%2E"),
    *("a\nb", "a\rb\u2028c", "back\\slash", "\\n", "né 🎈", "x" * 300, "x" * 301, "." * 150, "sp ace", "q#0", "q#1"),
]


def picture(grey: int, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (grey, grey, grey)).save(buffer, file_format)
    return buffer.getvalue()


def ledger_row(key: str, location: ImageLocation, **fields) -> dict:
    row = {
        "key": key,
        "image_key": key,
        "part": "",
        "caption_original": f"{key} old",
        "caption_generated": f"{key} new",
    }
    row |= {"caption": f"{key} both", "caption_from": "original_generated", **BLANK, **dict.fromkeys(NUMBERS, 0.25)}
    row |= {"image_path": location.path, "image_offset": location.offset, "image_size": location.size}
    # What img2dataset tells of an image is null in sources that do not have it.
    return {name: (row | fields).get(name) for name in SCHEMA.names}


def write_run(run, parts: dict[str, list[dict]], source: dict | None = None):
    """A run folder with one reduced set, "best", finished: ``parts`` are the ledger's rows."""
    folder = run / "best" / "ledger"
    folder.mkdir(parents=True)
    for part, rows in parts.items():
        rows = sorted(({**row, "part": part} for row in rows), key=lambda row: row["key"])
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / f"{part}.parquet")
    (folder / "manifest.json").write_text(json.dumps({"stage": "ledger", "done": True}))
    if source:
        (run / "encode").mkdir()
        (run / "encode" / "manifest.json").write_text(json.dumps({"config": {"source": source}}))
    return run


def write_tar(path, members: dict[str, bytes]):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def sample(stem: str, grey: int, file_format: str = "PNG", suffix: str = "png") -> dict[str, bytes]:
    """The members of one sample as img2dataset writes them."""
    fields = json.dumps({"caption": f"{stem} old", "url": "x"}).encode()
    return {
        f"{stem}.{suffix}": picture(grey, file_format),
        f"{stem}.json": fields,
        f"{stem}.txt": f"{stem} old".encode(),
    }


def tar_run(run, tars: list[str], dropped=(), key_prefix: bool = False):
    """A finished run over tars: all samples kept but those named."""
    return source_run(run, WebDatasetSource(tars, key_prefix=key_prefix), dropped)


def source_run(run, source: Source, dropped=()):
    """A finished run over a source without a bad record: all samples kept but those named."""
    parts = {}
    for part in source.parts:
        records = list(source.read(part))
        assert not any(record.error for record in records)
        parts[part.name] = [
            ledger_row(r.key, r.location, caption_original=r.caption, **(DROPPED if r.key in dropped else {}))
            for r in records
        ]
    return write_run(run, parts, source.describe())


def file_run(run, greys: dict[str, int], dropped=(), part_size: int = 100):
    """A finished run over images in files of their own, numbered: keys can be anything."""
    (run / "images").mkdir(parents=True)
    rows = []
    for i, (key, grey) in enumerate(greys.items()):
        path = run / "images" / f"{i}.png"
        path.write_bytes(picture(grey))
        rows.append(ledger_row(key, ImageLocation(str(path)), **(DROPPED if key in dropped else {})))
    parts = {f"{i:05d}": rows[i * part_size : (i + 1) * part_size] for i in range(-(-len(rows) // part_size))}
    return write_run(run, parts)


def files_in(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
