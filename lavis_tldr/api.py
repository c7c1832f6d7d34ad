"""What the ``lavis-tldr`` command does with reductions, from Python.

    from lavis_tldr.api import open_run, reduce

    run = reduce("reduce.yaml", options=["run.keep_ratio=0.25"])   # needs LAVIS; so does repair. The rest does without
    run = open_run("output/reduction")
    run.sets()                                                     # ["best", "paper"]
    run.ledger("best", columns=["key", "reason"]).to_pandas()
    run.why("000000001")["sets"]["best"]
    run.export("keep_list", "keys", name="best")

It is thin: each function hands over to the one that does the work, which says more. Errors that are the user's to mend
are ``ValueError``, or ``FileNotFoundError`` for a config that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lavis_tldr.runs.reduced_sets import CONFIG, find_set, locate_run

if TYPE_CHECKING:
    import pyarrow as pa


def reduce(
    config: str | os.PathLike, *, options: Sequence[str] = (), stage: str | None = None, restart: str | None = None
) -> Run:
    """Run a reduction, or go on with one; what is done already is not done again.

    Args:
        config: The run's YAML file.
        options: "key=value" settings that override it, such as "run.keep_ratio=0.25".
        stage: Run this stage alone.
        restart: Forget this stage's files, and those of later stages, first.

    Returns:
        The run. Under ``torch.distributed.run`` all processes call this, and each gets it.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If LAVIS cannot be imported; says what to do.
        ValueError: If the config names something unknown, or what was made before was made otherwise.
    """
    from lavis_tldr import train

    return Run(Path(train.run(config, _with_stages(options, stage, restart)).output_dir))


def explain(
    config: str | os.PathLike, *, options: Sequence[str] = (), stage: str | None = None, restart: str | None = None
) -> dict:
    """What `reduce` would do with the same arguments, and why; nothing is run, and no weights are loaded.

    Returns:
        `stages.explanation.explain`, and ``needs`` (`stages.needs.needs_of`); ``report.explanation_text`` puts it into
        words.

    Raises:
        As `reduce`; ValueError also if the config is no reduction's.
    """
    from lavis_tldr import train
    from lavis_tldr.tasks.reduce import explain_reduction

    user_config = train.load_user_config(config, _with_stages(options, stage, restart))
    train.check_names(user_config)
    return explain_reduction(user_config)


def _with_stages(options: Sequence[str], stage: str | None, restart: str | None) -> list[str]:
    chosen = [f"run.stages=[{stage}]"] if stage else []
    return [*options, *chosen, *([f"run.restart={restart}"] if restart else [])]


def open_run(path: str | os.PathLike) -> Run:
    """A run folder, or one reduced set's folder in it.

    Raises:
        ValueError: If there is no such folder.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"there is no run folder {path}: give the output_dir of a reduction.")
    return Run(path)


@dataclass(frozen=True)
class Run:
    """A run folder and what can be done with it. Made by `open_run` and `reduce`.

    ``name`` is everywhere a reduced set's (``run.name``); it may be left out where the run has but one, and by
    `inspect`, `verify` and `why`, which then tell of all. Where there is no such set, or no run, all raise
    ``ValueError``.

    Attributes:
        path: The run folder (``run.output_dir``), or one reduced set's folder in it.
    """

    path: Path

    def sets(self) -> list[str]:
        """Names of the reduced sets, sorted; none where the run has not come that far."""
        return locate_run(self.path)[1]

    def ledger(self, name: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The ledger of a finished set: one row a record of the source (``runs.ledger.SCHEMA``), in memory.

        Args:
            name: The set's.
            columns: All of them if None. ``runs.ledger.iter_ledger`` reads large ledgers a part at a time.
        """
        from lavis_tldr.runs.ledger import read_ledger

        return read_ledger(find_set(self.path, name), columns)

    def inspect(self, name: str | None = None) -> dict:
        """How the run was made, and how far it has come (`report.inspection.inspect_run`)."""
        from lavis_tldr.report.inspection import inspect_run

        return inspect_run(self.path, name)

    def verify(self, name: str | None = None) -> dict:
        """All files of the run read again; which of them have changed (`report.inspection.verify_run`)."""
        from lavis_tldr.report.inspection import verify_run

        return verify_run(self.path, name)

    def why(self, key: str, name: str | None = None) -> dict:
        """What became of one sample, and why (`report.why.why`)."""
        from lavis_tldr.report.why import why

        return why(self.path, key, name)

    def captions(self, name: str | None = None) -> dict:
        """What refining did to the captions of a finished set (`report.captions.caption_report`)."""
        from lavis_tldr.report.captions import caption_report

        return caption_report(self.path, name)

    def export(
        self,
        out: str | os.PathLike,
        format: str,
        *,
        name: str | None = None,
        caption: str = "caption",
        num_workers: int = 1,
    ) -> dict:
        """Write the kept pairs of a finished set in another format; counts (`exports.export.export_set`).

        Args:
            out: Folder to fill.
            format: "lavis", "lavis_repeated", "keys", "webdataset" or "parquet".
            name: The set's.
            caption: Which caption is the text: "caption" (the refined one), "caption_original" or "caption_generated".
            num_workers: Processes that write.
        """
        from lavis_tldr.exports.export import export_set

        return export_set(self.path, Path(out), format, name=name, caption=caption, num_workers=num_workers)

    def repair(
        self, name: str | None = None, *, decode: bool = False, dry_run: bool = False, options: Sequence[str] = ()
    ) -> dict:
        """Replace kept samples whose images have gone missing by understudies, by the set's own config.

        Args:
            name: The set's.
            decode: Decode every kept image, rather than look whether its file, or its tar's header, is there.
            dry_run: Change nothing.
            options: "key=value" settings that override the config: paths that have moved since.

        Returns:
            Counts, as ``tldr_repair`` gives them.

        Raises:
            ImportError: If LAVIS cannot be imported; says what to do.
            ValueError: If the set is not finished.
        """
        from lavis_tldr import train

        folder = find_set(self.path, name)
        config = folder / CONFIG
        if not config.is_file():
            raise ValueError(
                f"{folder} lacks {CONFIG}, which a reduction leaves there: run `lavis-tldr reduce` with its config "
                "once more; it does nothing over again."
            )
        here = Path(os.path.abspath(folder))  # it may have moved since
        settings = {
            "run.task": "tldr_repair",
            "run.output_dir": here.parent,
            "run.name": here.name,
            "run.stages": "[]",
            "run.restart": "[]",
            "run.repair_decode": decode,
            "run.repair_dry_run": dry_run,
        }
        return train.run(config, [*(f"{key}={value}" for key, value in settings.items()), *options]).result
