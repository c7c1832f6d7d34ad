"""What a reduction says when it ends."""

import json
import logging
from collections.abc import Collection
from functools import partial
from pathlib import Path

import torch

from lavis_tldr.codebook.quantizer import codebook_perplexity
from lavis_tldr.reduction.caption_measures import measure_captions
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.outcomes import summarise
from lavis_tldr.runs.stage_folder import MANIFEST
from lavis_tldr.runs.stages import REPEATS, STAGES, used_stages
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"
_COUNTS = ("read", "written", "kept", "drawn", "failed", "clusters", "empty")  # in the order they are told


def closing_summary(context: Context, asked: Collection[str]) -> dict:
    """Log and return the figures of a reduction, and write them to ``<recipe>/summary.json`` once it is built.

    Args:
        context: The run.
        asked: Stages that were to be run. What other recipes have made is not told, unless this one uses it, too.
    """
    told = {*asked, *used_stages(context.config)}
    figures: dict = {"stages": {name: stage_figures(context, name) for name in STAGES if name in told}}
    figures["stages"] = {name: value for name, value in figures["stages"].items() if value}
    if "encode" in figures["stages"]:
        figures["codebook"] = codebook_use(context)
    if "build" in figures["stages"]:
        parts = iter_ledger(context.set_root, ["reason", "cluster", "caption_from", REPEATS])
        figures["counts"] = summarise(parts, context.config.num_clusters)
        figures["captions"] = measure_captions(
            partial(iter_ledger, context.set_root),
            threshold=context.config.gate if context.config.needs_scores else None,
        )
        (context.set_root / SUMMARY).write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    for line in summary_lines(figures, context):
        logger.info(line)
    return figures


def stage_figures(context: Context, name: str) -> dict:
    """Counts, seconds and rate of a finished stage, from its manifest; empty where it is not finished."""
    path = context.closed_stage(name).folder / MANIFEST
    if not path.is_file():
        return {}
    manifest = json.loads(path.read_text())
    return {key: manifest[key] for key in ("counts", "seconds", "rate")} if manifest["done"] else {}


def codebook_use(context: Context) -> dict:
    """Perplexity and dead codes over the whole set."""
    counts = encode.statistics(context).counts
    perplexity = codebook_perplexity(torch.from_numpy(counts))
    return {"num_codes": len(counts), "perplexity": round(perplexity, 1), "dead_codes": int((counts == 0).sum())}


def summary_lines(figures: dict, context: Context) -> list[str]:
    """The figures in plain words, a line each."""
    lines = [f"reduction in {Path(context.root)}"]
    for name, stage in figures["stages"].items():
        counts = ", ".join(f"{key} {stage['counts'][key]}" for key in sorted(stage["counts"], key=_COUNTS.index))
        rate = f", {stage['rate']:.1f}/s" if stage["rate"] else ""
        done_before = "" if name in context.ran else " (done before)"
        lines.append(f"  {name:8} {counts}; {stage['seconds']:.1f} s{rate}{done_before}")
    if "codebook" in figures:
        use = figures["codebook"]
        lines.append(f"  codebook perplexity {use['perplexity']} of {use['num_codes']}, {use['dead_codes']} dead codes")
    if "counts" in figures:
        counts = figures["counts"]
        sizes = counts["cluster_sizes"]
        drawn = f", drawn {counts['drawn']} times" if "drawn" in counts else ""
        lines += [
            f"  in {counts['read']}, kept {counts['kept']} ({counts['kept_share']:.1%}){drawn}, failed "
            f"{sum(counts['failed'].values())}, dropped {sum(counts['dropped'].values())}",
            *(f"    failed: {why}: {count}" for why, count in counts["failed"].items()),
            *(f"    dropped: {why}: {count}" for why, count in counts["dropped"].items()),
            f"  captions from {counts['caption_from']}",
            *_caption_lines(figures["captions"]),
            f"  clusters {sizes['clusters']} ({sizes['empty']} empty), of {sizes['min']} to {sizes['max']} samples, "
            f"median {sizes['median']:g}",
            f"  reduced set: {context.set_root / 'build'} (datasets: tldr_reduced: path)",
        ]
    return lines


def _caption_lines(captions: dict) -> list[str]:
    """The captions' figures that tell most; `lavis-tldr captions` tells all."""
    rare, before, after = captions["rare_words"], *(captions["captions"][kind] for kind in ("original", "refined"))
    lines = []
    if rare["share"] is not None:
        lines.append(f"    rare words of the originals that survive: {rare['share']:.1%} of {rare['original']}")
    if after["distinct_captions"] is not None:
        lines.append(
            f"    distinct captions {after['distinct_captions']:.1%} (originals {before['distinct_captions']:.1%}), "
            f"words {after['vocabulary']} (originals {before['vocabulary']})"
        )
    found = captions["alignment"]
    if found["refined"]:
        originals = f" (originals {found['original']['mean']})" if found["original"] else ""
        lines.append(f"    mean alignment {found['refined']['mean']}{originals}")
    return lines
