"""``tldr_repair``: lets understudies step in for kept samples whose images have gone missing since."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lavis.common.dist_utils import is_main_process
from lavis.common.registry import registry

from lavis_tldr.datasets.source_parts import SourceParts
from lavis_tldr.exports.annotations import find_exported
from lavis_tldr.models.collectives import barrier, from_all_ranks
from lavis_tldr.progress import progress
from lavis_tldr.reduction.understudy import replace_lost
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.manifest import changes, normalise
from lavis_tldr.runs.reduced_sets import REPAIR_PLAN
from lavis_tldr.runs.repairs import Repairs
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.sources import ImageLocation, Part
from lavis_tldr.sources.presence import image_problem
from lavis_tldr.stages import build, ledger, refine, score
from lavis_tldr.stages.context import Context, share
from lavis_tldr.stages.reduce_config import ReduceConfig
from lavis_tldr.tasks.reduce import ReduceTask, alone

logger = logging.getLogger(__name__)

RUN_KEYS = ("repair_decode", "repair_dry_run")
_AS_MADE = ("encode", "caption", "score", "cluster", "select", "refine")
_AGAIN = ("repair", "ledger", "build")
_PLACE = ["image_key", "image_path", "image_offset", "image_size"]
_TOLD = 10  # replacements that are named in the log


@dataclass
class _RecordedSource:
    """The source's parts as encode found them; it is not read again, and may have lost files since."""

    parts: list[Part]


@registry.register_task("tldr_repair")
class RepairTask(ReduceTask):
    """Makes a reduced set whole again: repairs what ``tldr_reduce`` built, from the same config.

    ``repair_decode`` decodes every kept image; else files and tar headers are looked at. ``repair_dry_run`` changes
    nothing.
    """

    stages = _AGAIN

    def build_datasets(self, cfg) -> dict:
        encoded = Stage.as_made(cfg.run_cfg.output_dir, "encode")
        names = sorted(Path(name).stem for name in encoded.manifest["outputs"])
        parts = [Part(index, name, "") for index, name in enumerate(names)]
        return {"tldr_source": {"train": SourceParts(_RecordedSource(parts), None, {})}}

    def run(self, model, datasets: dict, run_cfg) -> dict:
        """Replace what is lost.

        Returns:
            How many kept samples were ``checked``, had lost their exported image alone (``copied_again``), were
            ``lost``, ``replaced`` and left ``without_stand_in``, and how many ``understudies_lost`` were passed over.

        Raises:
            ValueError: If the reduction is not finished, or captions would be made otherwise than they were.
        """
        context = self.context(model, datasets, run_cfg, ReduceConfig.from_run(run_cfg))
        context.as_made = _AS_MADE
        _check_captions_made(context)
        with alone(context.set_root):
            # Of an earlier repair that was cut short.
            self.run_stages(context, ["repair", "ledger"])
            decode, dry_run = bool(run_cfg.get("repair_decode")), bool(run_cfg.get("repair_dry_run"))
            found = _look(context, decode)
            figures = {}
            if is_main_process():
                figures = _plan(context, found.lost, decode, dry_run)
                if found.uncopied and not dry_run:  # built anew, the set has them again
                    context.closed_stage("build").restart()
            barrier()
            if not dry_run:
                context.forget_stages()
                self.run_stages(context, list(_AGAIN))
        return {"checked": found.checked, "copied_again": found.uncopied, **figures}


def _check_captions_made(context: Context) -> None:
    """Refuse a config by which stand-ins would be captioned otherwise than the rest was."""
    refined = Stage.as_made(context.root_of("refine"), "refine")
    if refined.inputs["model"] != context.model_digest:
        raise ValueError(
            f"the captions of {context.set_root} were made by another captioner than model.finetuned names now, and "
            "its stand-ins would be captioned otherwise than the rest. Name the one that `lavis-tldr reduce` used: "
            "--options model.finetuned=..."
        )
    if lines := changes({"config": refined.config}, {"config": normalise(refine.settings(context))}):
        raise ValueError(
            f"the captions of {context.set_root} were made otherwise than its config says now:\n"
            + "".join(f"  {line}\n" for line in lines)
            + "Give the settings that they were made with as --options run.recipe=... and the like."
        )
    if context.config.scores_refined:
        made_by = Stage.as_made(context.root, "score", context.variants["score"]).inputs
        for name, digest in score.encoders(context).items():
            if made_by.get(name) != digest:
                key = "blip_weights" if name == "blip" else "similarity_weights"
                raise ValueError(
                    f"the captions of {context.set_root} were scored by another {name} than run.{key} names now. "
                    f"Name the one that `lavis-tldr reduce` used: --options run.{key}=..."
                )


@dataclass
class _Found:
    """What became of the kept samples' images.

    Attributes:
        checked: How many samples there are.
        lost: Cluster of each whose image can't be had any more, by key.
        uncopied: How many have lost the set's own copy, but not the source's image.
    """

    checked: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    uncopied: int = 0

    def add(self, other: "_Found") -> None:
        self.checked += other.checked
        self.lost |= other.lost
        self.uncopied += other.uncopied


def _has_copy(context: Context, part_name: str, place: dict, decode: bool) -> bool:
    """Whether the set's own copy of an image is there."""
    if context.config.images != "export":
        return False
    copies = context.set_root / "build" / build.IMAGES / part_name
    copy = find_exported(copies, place["image_key"])
    return bool(copy) and not image_problem(ImageLocation(str(copies / copy)), place["image_key"], decode=decode)


def _in_source(place: dict, decode: bool) -> bool:
    location = ImageLocation(place["image_path"], place["image_offset"], place["image_size"])
    return not image_problem(location, place["image_key"], decode=decode)


def _look(context: Context, decode: bool) -> _Found:
    """Look for the images of all kept samples; what all processes found, on each."""
    mine = _Found()
    stage = ledger.stage_of(context)
    for name in progress(share(context.part_names), "looking for images", "part"):
        (kept,) = iter_ledger(stage.part_path(name), ["key", "cluster", *_PLACE], only_kept=True)
        mine.checked += kept.num_rows
        for row in kept.to_pylist():
            if _has_copy(context, name, row, decode):
                continue
            if not _in_source(row, decode):
                mine.lost[row["key"]] = row["cluster"]
            elif context.config.images == "export":
                mine.uncopied += 1
    found = _Found()
    for other in from_all_ranks(mine):
        found.add(other)
    return found


def _plan(context: Context, lost: dict[str, int], decode: bool, dry_run: bool) -> dict:
    """Choose the stand-ins and write them down; the stages made from the set as it was are forgotten."""
    before = Repairs.load(context.set_root)
    places: dict[str, tuple[str, dict]] = {}

    def ranked(clusters: np.ndarray, above: int, up_to: int) -> Iterator[tuple[int, int, str]]:
        for part_name, row in _understudies(context, clusters, above, up_to):
            places[row["key"]] = part_name, row
            yield row["cluster"], row["understudy"], row["key"]

    def is_there(key: str) -> bool:
        part_name, place = places[key]
        return _has_copy(context, part_name, place, decode) or _in_source(place, decode)

    replaced, passed_over = replace_lost(lost, ranked, is_there, num_gaps=len(before.replaced))
    for key in sorted(replaced)[:_TOLD]:
        logger.info("%s is lost; %s", key, f"{replaced[key]} steps in" if replaced[key] else "its cluster has no other")
    if len(replaced) > _TOLD:
        logger.info("... and %d more: %s", len(replaced) - _TOLD, context.set_root / REPAIR_PLAN)
    if replaced and not dry_run:
        # First what was made from the set as it was: cut short after that, it is made again as it was.
        for name in reversed(_AGAIN):
            context.closed_stage(name).restart()
        Repairs({**before.replaced, **replaced}, before.passed_over.union(passed_over)).save(context.set_root)
    return {**Repairs(replaced).counts(), "understudies_lost": len(passed_over)}


def _understudies(context: Context, clusters: np.ndarray, above: int, up_to: int) -> Iterator[tuple[str, dict]]:
    stage = ledger.stage_of(context)
    for name in context.part_names:
        (table,) = iter_ledger(stage.part_path(name), ["key", "cluster", "understudy", *_PLACE])
        rank = table["understudy"]
        wanted = pc.and_(pc.greater(rank, above), pc.less_equal(rank, up_to))
        wanted = pc.and_(wanted, pc.is_in(table["cluster"], pa.array(clusters, pa.int32())))
        for row in table.filter(wanted).to_pylist():
            yield name, row
