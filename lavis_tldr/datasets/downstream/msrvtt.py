"""MSRVTT, the split 1K-A (Yu et al., arXiv:1808.02559): 1,000 videos and a caption of each.

Read are the official ``MSRVTT_JSFUSION_test.csv`` (column ``sentence``, in some copies ``sentences``), BLIP's JSON
lines and LAVIS's list. `convert` makes the last, ``msrvtt_test.json``:

    [{"video": "video9.mp4", "caption": ["a man sings"]}]
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from lavis_tldr.datasets.downstream.json_files import write_json
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

OFFICIAL = ("MSRVTT_JSFUSION_test.csv", "msrvtt_test.jsonl")
MADE = "msrvtt_test.json"
VIDEOS = "videos"
_SUFFIX = ".mp4"
_SENTENCE = ("sentence", "sentences")


def read_captions(path: Path) -> dict[str, list[str]]:
    """Captions by the name of the video's file, in the file's order.

    Args:
        path: In one of the three layouts.

    Raises:
        ValueError: If it is missing, in none of them, or empty; or if an entry is there twice.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: expected {OFFICIAL[0]}, BLIP's JSON lines or LAVIS's list.")
    text = path.read_text(encoding="utf-8-sig")
    rows = _rows_of_json(text, path) if text.lstrip()[:1] in ("[", "{") else _rows_of_csv(text, path)
    found: dict[str, list[str]] = {}
    seen = set()
    for where, video, captions in rows:
        if not (isinstance(video, str) and video) or not captions or not all(map(_says_something, captions)):
            raise ValueError(f"{path}: {where} has no video or no caption: {video!r}, {captions!r}.")
        if (entry := (video, *captions)) in seen:
            raise ValueError(f"{path}: {where} is there twice: {video}, {captions[0]!r}.")
        seen.add(entry)
        found.setdefault(video if Path(video).suffix else video + _SUFFIX, []).extend(captions)
    if not found:
        raise ValueError(f"{path} has no captions.")
    return found


def _says_something(caption: object) -> bool:
    return isinstance(caption, str) and bool(caption.strip())


def _rows_of_csv(text: str, path: Path) -> Iterator[tuple[str, str, list[str]]]:
    reader = csv.DictReader(io.StringIO(text))
    columns = reader.fieldnames or []
    column = next((name for name in _SENTENCE if name in columns), None)
    if column is None or "video_id" not in columns:
        raise ValueError(f"{path} has the columns {', '.join(columns)}; expected video_id and sentence (or sentences).")
    for row in reader:
        yield f"line {reader.line_num}", row["video_id"], [row[column] or ""]


def _rows_of_json(text: str, path: Path) -> Iterator[tuple[str, str, list[str]]]:
    try:
        rows = json.loads(text) if text.lstrip()[0] == "[" else [json.loads(line) for line in text.splitlines() if line]
    except ValueError as error:
        raise ValueError(f"{path} is neither JSON nor JSON lines: {error}") from error
    for number, row in enumerate(rows, start=1):
        video = row.get("video", row.get("clip_name")) if isinstance(row, dict) else None
        if video is None or "caption" not in row:
            raise ValueError(f"{path}: entry {number} is {row!r}; expected video (or clip_name) and caption.")
        captions = row["caption"]  # LAVIS reads a string here letter by letter
        yield f"entry {number}", video, [captions] if isinstance(captions, str) else captions


def convert(folder: Path) -> list[str]:
    """Make LAVIS's list of the official one; see `DownstreamSet`.

    Raises:
        ValueError: If none is there, or it is of another layout.
    """
    path = next((folder / name for name in OFFICIAL if (folder / name).is_file()), folder / OFFICIAL[0])
    found = read_captions(path)
    write_json(folder / MADE, [{"video": video, "caption": captions} for video, captions in found.items()])
    return [f"{MADE}: {len(found):,} videos, {sum(map(len, found.values())):,} captions, from {path.name}"]


MSRVTT = DownstreamSet(
    name="msrvtt",
    title="MSRVTT 1K-A",
    terms="research; the videos are their uploaders' (YouTube)",
    files=(
        NeededFile(
            OFFICIAL[0],
            "captions of the split 1K-A (or BLIP's list as msrvtt_test.jsonl)",
            "https://github.com/ArrowLuo/CLIP4Clip#data-preparing",
        ),
        NeededFile(f"{VIDEOS}/*.mp4", "the videos", "https://github.com/ArrowLuo/CLIP4Clip#data-preparing"),
        NeededFile(MADE, "LAVIS's list", "", made=True),
    ),
    convert=convert,
)
