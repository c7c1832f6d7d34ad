"""``docs/formats.md``: every file and column of a run folder, written from the table of stages.

After a change of the table: ``python -m lavis_tldr.runs.formats > docs/formats.md``. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lavis_tldr.runs.stages import STAGES, Link, Setting, StageSpec

_HEAD = """\
# The files of a run folder

Written from the table of stages (`lavis_tldr/runs/stages.py`) by `python -m lavis_tldr.runs.formats`: do not edit.

A run folder (`run.output_dir`) holds the stages that all its reduced sets share, and a folder for each reduced set
(`run.name`) with stages of its own:

```
RUN/STAGE/                     shared by all sets
RUN/STAGE/VARIANT/             likewise, where sets may want it otherwise than each other
RUN/NAME/STAGE/                of the set NAME
RUN/NAME/config.yaml           the config that made the set
RUN/NAME/variants.json         the shared stages that it is made from, and which variant of each
RUN/NAME/summary.json          the closing summary's figures
RUN/NAME/repaired.json         which images were lost since, and who stands in (only after a repair)
running.json                   the job that is at work in a folder
```

Every stage's folder holds `manifest.json` (package version, the settings that decide the outcome, digests of what it is
made from, counts, times, size and digest of each file) and for each part of the source `PART.parquet` and
`PART.note.json` (counts and seconds of the part). The Parquet files of a stage together are one table: Polars and
DuckDB read them as `STAGE/*.parquet`. A file is written under a temporary name and renamed when whole.
"""


def formats_markdown() -> str:
    """The page."""
    return "\n".join([_HEAD, *(line for spec in STAGES.values() for line in _stage_lines(spec))])


def _stage_lines(spec: StageSpec) -> Iterator[str]:
    yield f"## {spec.name}"
    yield ""
    yield spec.what
    yield ""
    yield f"- Folder: `{_folder(spec)}`"
    yield f"- Made from: {_links(spec.made_from)}"
    if spec.settings:
        yield f"- Settings that decide it: {_settings(spec.settings)}"
    for name, meaning in spec.inputs:
        yield f"- Input `{name}`: {meaning}"
    for name, meaning in spec.files:
        yield f"- File `{name}`: {meaning}"
    yield ""
    if spec.columns:
        yield "| column | type | meaning |"
        yield "| --- | --- | --- |"
        for column in spec.columns:
            since = f" Since {column.since}." if column.since else ""
            yield f"| `{column.name}` | {column.type} | {column.meaning}{since} |"
        yield ""


def _folder(spec: StageSpec) -> str:
    above = "RUN" if spec.shared else "RUN/NAME"
    return f"{above}/{spec.name}/" + ("VARIANT/" if spec.variant else "")


def _links(links: Sequence[Link]) -> str:
    return ", ".join(f"{link.stage}{_in_brackets(link.note)}" for link in links) or "the source"


def _settings(settings: Sequence[Setting]) -> str:
    return ", ".join(f"`{s.name}`{_in_brackets(s.note)}" for s in settings)


def _in_brackets(note: str) -> str:
    return f" ({note})" if note else ""


if __name__ == "__main__":
    print(formats_markdown(), end="")
