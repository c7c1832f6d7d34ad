"""A stage's folder in a run folder: parts written whole, and a manifest that says what they are made from.

Any number of processes may share a stage: each writes whole parts, two that write the same part write the
same bytes, and one of them (rank 0) finishes the stage when all parts are there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lavis_tldr import __version__
from lavis_tldr.files import TEMPORARY_PREFIX, create_whole, file_digest, write_whole
from lavis_tldr.runs.manifest import changes, digest_of, normalise

MANIFEST = "manifest.json"
_NOTE_SUFFIX = ".note.json"
_RESTARTING = TEMPORARY_PREFIX + "restarting"  # the manifest while the stage is deleted
_OUTPUT = ("bytes", "digest")


class Stage:
    """``<root>/<name>/``: flat, with ``manifest.json`` and the stage's files.

    Args:
        root: The run folder.
        name: The stage's name, such as "encode".
        config: What decides the stage's output, as plain values. Leave out what doesn't, such as a batch
            size.
        inputs: Name and digest of each input: weights, source parts, the stage before.
        variant: Where a run has the stage several times: its folder is ``<root>/<name>/<variant>/``.
    """

    def __init__(self, root: Path | str, name: str, config: dict, inputs: dict[str, str], variant: str = ""):
        self.name = name
        self.folder = Path(root) / _flat(name) / _flat(variant) if variant else Path(root) / _flat(name)
        self.config = normalise(config)
        self.inputs = normalise(inputs)

    @classmethod
    def as_made(cls, root: Path | str, name: str, variant: str = "") -> Stage:
        """The finished stage in this folder, whatever it was made with.

        Raises:
            ValueError: If it is not there, or not finished.
        """
        stage = cls(root, name, {}, {}, variant)
        manifest = stage._read()
        if manifest is None or not manifest["done"]:
            raise ValueError(f"stage {name} in {stage.folder} is not finished: run `lavis-tldr reduce` first.")
        stage.config, stage.inputs = manifest["config"], manifest["inputs"]
        return stage

    def open(self) -> None:
        """Create the stage, or check that what is there was made with this config and from these inputs.

        Raises:
            ValueError: If it was not; lists each change. Also if the folder holds files without a manifest.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._read() is None:
            # A manifest comes before any file, so files without one are left from a restart cut short or are
            # not ours. (Look for the manifest again afterwards: another process may just have opened the
            # stage.)
            strays = [path.name for path in self._files()]
            if strays and self._read() is None:
                raise ValueError(
                    f"{self.folder} holds files but no manifest (first: {strays[0]!r}), so nothing says "
                    f"what they were made from. Use a new run folder, or `--restart {self.name}` to delete "
                    "them."
                )
            create_whole(self.folder / MANIFEST, _dump(self._manifest()))
        self._checked()

    def is_done(self) -> bool:
        """Whether the stage was finished and its outputs are all there.

        Raises:
            ValueError: If it was made otherwise (as ``open``), or if an output has changed in size since.
        """
        manifest = self._checked(missing_ok=True)
        if manifest is None or not manifest["done"]:
            return False
        for name, output in manifest["outputs"].items():
            path = self.folder / name
            if not path.is_file():
                return False
            if path.stat().st_size != output["bytes"]:
                raise ValueError(
                    f"{path} has {path.stat().st_size} bytes but had {output['bytes']} when {self.name} "
                    f"finished. Restore it, or make it anew with `--restart {self.name}`."
                )
        return True

    def part_path(self, part_name: str, suffix: str = ".parquet") -> Path:
        """Where a part's result lies once it is whole."""
        return self.folder / _flat(part_name + suffix)

    def pending(self, part_names: Sequence[str], suffix: str = ".parquet") -> list[str]:
        """The parts without a result, in the order given."""
        return [name for name in part_names if not self.part_path(name, suffix).is_file()]

    @contextmanager
    def write(self, file_name: str) -> Iterator[Path]:
        """A temporary path that becomes ``file_name`` when the block ends, and vanishes on an error."""
        with write_whole(self.folder / _flat(file_name)) as temporary:
            yield temporary

    @property
    def scratch(self) -> Path:
        """A folder for what the stage needs on its way and nobody after it; gone when it is finished."""
        return self.folder / "scratch"

    def write_part(self, part_name: str, write: Callable[[Path], None], info: dict) -> None:
        """Write a part's Parquet file, whole or not at all, and remember what is to be known of it.

        Args:
            part_name: Its name.
            write: Writes the file to the path that it is given.
            info: Counts and seconds for the manifest; they are no part of the stage's digest.
        """
        path = self.part_path(part_name)
        with self.write(path.name) as temporary:
            write(temporary)
            # Digested by who wrote it, while it is in memory. The note comes first: a part that is there has one.
            written = {"bytes": temporary.stat().st_size, "digest": file_digest(temporary)}
            self.note_part(part_name, {**info, **written})

    def note_part(self, part_name: str, info: dict) -> None:
        """Remember counts or seconds of a part for the manifest; they are no part of the stage's digest."""
        with self.write(part_name + _NOTE_SUFFIX) as temporary:
            temporary.write_text(_dump(normalise(info)), encoding="utf-8")

    def notes(self) -> dict[str, dict]:
        """What ``write_part`` remembered, by part, whichever process or earlier run noted it."""
        return {
            note.name.removesuffix(_NOTE_SUFFIX): json.loads(note.read_text(encoding="utf-8"))
            for note in sorted(self.folder.glob("*" + _NOTE_SUFFIX))
            if not note.name.startswith(TEMPORARY_PREFIX)
        }

    def finish(self, counts: dict, seconds: float, outputs: Sequence[Path] = ()) -> None:
        """Mark the stage as done: one process calls this, when all others have written their parts.

        Args:
            counts: Such as ``{"read": ..., "written": ..., "failed": ...}``; "read" gives the rate.
            seconds: The stage's time.
            outputs: The stage's files that later stages read; all of them if none is named.

        Raises:
            ValueError: If the stage is not open, or if an output does not exist.
        """
        manifest = self._checked()
        for path in self.folder.glob(TEMPORARY_PREFIX + "*"):
            path.unlink(missing_ok=True)  # left by processes that were killed
        shutil.rmtree(self.scratch, ignore_errors=True)
        paths = [Path(path) for path in outputs] or [p for p in self._files() if not p.name.endswith(_NOTE_SUFFIX)]
        for path in paths:
            if not path.is_file() or path.parent.resolve() != self.folder.resolve():
                raise ValueError(f"{path} is not a file of {self.folder}: {self.name} can't finish with it.")
        notes = self.notes()
        manifest |= {
            "done": True,
            "counts": normalise(counts),
            "seconds": round(seconds, 3),
            "rate": round(counts["read"] / seconds, 3) if "read" in counts and seconds > 0 else None,
            "parts": {name: {k: v for k, v in note.items() if k not in _OUTPUT} for name, note in notes.items()},
            "outputs": {path.name: _output(path, notes.get(path.stem)) for path in sorted(paths)},
        }
        with self.write(MANIFEST) as temporary:
            temporary.write_text(_dump(manifest), encoding="utf-8")

    @property
    def manifest(self) -> dict:
        """The manifest as it is on disk.

        Raises:
            ValueError: If there is none, or if it was made otherwise (as ``open``).
        """
        return self._checked()

    @property
    def digest(self) -> str:
        """Digest of the finished stage: config, inputs and outputs, whatever the time it took.

        Raises:
            ValueError: If the stage is not finished.
        """
        if not self.is_done():
            raise ValueError(f"stage {self.name} in {self.folder} is not finished: run it before what comes after it.")
        manifest = self._checked()
        outputs = {name: output["digest"] for name, output in manifest["outputs"].items()}
        return digest_of({"config": manifest["config"], "inputs": manifest["inputs"], "outputs": outputs})

    def restart(self) -> None:
        """Delete the stage's files, so that ``open`` starts anew. No other process may be at work on it.

        Cut short, it is ended by ``end_restart``.
        """
        if not self.folder.is_dir():
            return
        # The manifest goes first, so that nobody takes the rest for whole; what it becomes says why there is none.
        marker = self.folder / _RESTARTING
        if (self.folder / MANIFEST).is_file():
            os.replace(self.folder / MANIFEST, marker)
        for path in self.folder.iterdir():
            if path != marker and (path.is_file() or path.is_symlink()):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        marker.unlink(missing_ok=True)

    def end_restart(self) -> None:
        """Delete what a ``restart`` that was cut short has left; nothing where there was none. As alone as that."""
        if (self.folder / _RESTARTING).is_file() and not (self.folder / MANIFEST).is_file():
            self.restart()

    def _files(self) -> list[Path]:
        """The stage's whole files, in order of name; not the manifest."""
        return sorted(
            path
            for path in self.folder.iterdir()
            if path.is_file() and path.name != MANIFEST and not path.name.startswith(TEMPORARY_PREFIX)
        )

    def _manifest(self) -> dict[str, Any]:
        # No time and no host: processes that open a stage together write the same bytes.
        return {
            "stage": self.name,
            "package_version": __version__,
            "config": self.config,
            "inputs": self.inputs,
            "done": False,
        }

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / MANIFEST
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error}). Use `--restart {self.name}` to make it anew.") from error

    def _checked(self, missing_ok: bool = False) -> dict[str, Any] | None:
        """The manifest on disk, refused if its config or inputs are not this stage's."""
        found = self._read()
        if found is None:
            if missing_ok:
                return None
            raise ValueError(f"stage {self.name} has no manifest in {self.folder}: open the stage first.")
        lines = changes(
            {"config": found.get("config", {}), "inputs": found.get("inputs", {})},
            {"config": self.config, "inputs": self.inputs},
        )
        if lines:
            raise ValueError(
                f"stage {self.name} in {self.folder} was made otherwise than asked for now:\n"
                + "".join(f"  {line}\n" for line in lines)
                + f"Use a new run folder, or `--restart {self.name}` to make it anew."
            )
        return found


def _flat(name: str) -> str:
    if not name or name in (".", "..") or "/" in name or "\\" in name or name.startswith(TEMPORARY_PREFIX):
        raise ValueError(f"{name!r} is no file name for a stage: give a plain name, without folders.")
    return name


def _output(path: Path, note: dict | None) -> dict:
    """Size and digest of an output; of a part, as its writer found them."""
    size = path.stat().st_size
    if path.suffix == ".parquet" and note and note.get("bytes") == size:
        return {name: note[name] for name in _OUTPUT}
    return {"bytes": size, "digest": file_digest(path)}


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
