"""Kept samples whose images have gone missing, and the understudies that step in for them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lavis.common.dist_utils import is_main_process

from lavis_tldr.exports.images import find_exported
from lavis_tldr.exports.pairs import location_of
from lavis_tldr.models.collectives import barrier, from_all_ranks, share
from lavis_tldr.progress import progress
from lavis_tldr.reduction.understudy import replace_lost
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.manifest import changes, normalise
from lavis_tldr.runs.repairs import REPAIR_PLAN, Repairs
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import PLACE, STAGES
from lavis_tldr.sources import ImageLocation
from lavis_tldr.sources.image_bytes import image_problem
from lavis_tldr.stages import build, score
from lavis_tldr.stages.context import Context
from lavis_tldr.stages.running import run_stages

logger = logging.getLogger(__name__)

AGAIN = ("repair", "ledger", "build")  # what a repair makes anew
AS_MADE = tuple(name for name in STAGES if name not in AGAIN)  # what it takes as it is
_TOLD = 10  # replacements that are named in the log


def repair_set(context: Context, *, decode: bool, dry_run: bool) -> dict:
    """Replace the kept samples whose images are lost, and make ledger and build anew; nobody else is at work there.

    Args:
        context: The run; its stages up to refine are taken as they were made.
        decode: Decode every kept image; else files and tar headers are looked at.
        dry_run: Change nothing.

    Returns:
        As `lavis_tldr.tasks.reduce.RepairTask.run`.
    """
    run_stages(context, ["repair", "ledger"])  # of an earlier repair that was cut short
    found = _look(context, decode)
    figures = {}
    if is_main_process():
        figures = _plan(context, found.lost, decode, dry_run)
        if found.uncopied and not dry_run:  # built anew, the set has them again
            context.closed_stage("build").restart()
    barrier()
    if not dry_run:
        context.forget_stages()
        run_stages(context, AGAIN)
    return {"checked": found.checked, "copied_again": found.uncopied, **figures}


def check_captions_made(context: Context) -> None:
    """Refuse a config by which stand-ins would be captioned otherwise than the rest was."""
    refined = Stage.as_made(context.root_of("refine"), "refine")
    if refined.inputs["model"] != context.model_digest:
        raise ValueError(
            f"the captions of {context.set_root} were made by another captioner than model.finetuned names now, and "
            "its stand-ins would be captioned otherwise than the rest. Name the one that `lavis-tldr reduce` used: "
            "--options model.finetuned=..."
        )
    if lines := changes(
        {"config": refined.config}, {"config": normalise(STAGES["refine"].settings_of(context.config))}
    ):
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
    return not image_problem(location_of(place), place["image_key"], decode=decode)


def _look(context: Context, decode: bool) -> _Found:
    """Look for the images of all kept samples; what all processes found, on each."""
    mine = _Found()
    stage = context.stage("ledger")
    for name in progress(share(context.part_names), "looking for images", "part"):
        (kept,) = iter_ledger(stage.part_path(name), ["key", "cluster", "image_key", *PLACE], only_kept=True)
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
        for name in reversed(AGAIN):
            context.closed_stage(name).restart()
        Repairs({**before.replaced, **replaced}, before.passed_over.union(passed_over)).save(context.set_root)
    return {**Repairs(replaced).counts(), "understudies_lost": len(passed_over)}


def _understudies(context: Context, clusters: np.ndarray, above: int, up_to: int) -> Iterator[tuple[str, dict]]:
    stage = context.stage("ledger")
    for name in context.part_names:
        (table,) = iter_ledger(stage.part_path(name), ["key", "cluster", "understudy", "image_key", *PLACE])
        rank = table["understudy"]
        wanted = pc.and_(pc.greater(rank, above), pc.less_equal(rank, up_to))
        wanted = pc.and_(wanted, pc.is_in(table["cluster"], pa.array(clusters, pa.int32())))
        for row in table.filter(wanted).to_pylist():
            yield name, row
