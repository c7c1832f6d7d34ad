"""One recipe's account of a sample: where it was put, whether it was kept, and what became of its caption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from lavis_tldr.reduction.criteria import DRAWS, UNIFORM
from lavis_tldr.reduction.words import count_words
from lavis_tldr.report.cluster_standing import cluster_standing, count_kept, draw_standing
from lavis_tldr.report.key_lookup import find_key
from lavis_tldr.report.reasons import explain_caption, explain_outcome
from lavis_tldr.report.stage_rows import config_of, is_done, number_or_none, parts_of, row_in
from lavis_tldr.runs.outcomes import KEPT, NEAR_DUPLICATE, NOT_DRAWN, STANDS_IN, reasons
from lavis_tldr.runs.reduced_sets import stage_folders
from lavis_tldr.runs.repairs import Repairs


def recipe_account(folder: Path, key: str, source: dict, generated: str) -> dict:
    """What one recipe made of a sample; what is not decided yet is None.

    Args:
        folder: The recipe's.
        key: The sample's.
        source: Its record, with ``part``, ``error`` and ``caption_original``.
        generated: Its generated caption as the scores have it, or "".

    Returns:
        - ``kept``, ``reason`` (the ledger's) and ``explanation``
        - ``cluster``: ``id``, ``of`` how many, ``size``, ``kept`` and ``quota`` (how many the selection gave it); None
          for a sample in none
        - ``distance`` to the centroid, squared L2: ``value`` and ``rank`` in the cluster, 1 the nearest; or None
        - ``prototype_distance``: the cosine distance to it; or None
        - ``alignment``: ``value``, ``rank`` in the cluster, 1 the best, ``of`` those that are neither filtered nor near
          duplicates, and ``lowest_kept`` among them; or None
        - ``score``: likewise what the selection ranked by, higher is better, and ``by`` which criterion; or None where
          the draw decided
        - ``understudy``: its turn to step in for a kept sample of the cluster, 0 for none
        - ``captions``: ``original``, ``generated``, ``final``, ``from`` and ``explanation``
    """
    row = {}
    folders = stage_folders(folder)
    for stage in ("cluster", "select", "refine", "repair", "ledger"):
        row |= row_in(folders[stage], source["part"], key) if stage in folders else {}
    selection = config_of(folder / "select")
    scores = {name: number_or_none(row.get(name)) for name in ("alignment", "score")}
    repairs = Repairs.load(folder)
    reason = row.get("reason")
    if reason is None and (source["error"] or "kept" in row):  # the ledger is still to come
        (reason,) = reasons(
            [source["error"]],
            np.array([bool(row.get("kept"))]),
            duplicate_of=[row.get("duplicate_of") or ""],
            score=np.array([row.get("score", np.nan)]),
            filtered=np.array([bool(row.get("filtered"))]),
            is_short=_words(source["caption_original"]) < selection.get("min_words", 0),
            selection=selection.get("selection", ""),
            prefilter=selection.get("prefilter", ""),
            keys=[key],
            replaced=repairs.replaced,
        )
    tables = [folders[stage] for stage in ("ledger", "select", "cluster") if stage in folders]
    done = next((table for table in tables if is_done(table)), None)
    table = [] if done is None else parts_of(done)
    is_clustered = row.get("cluster", -1) >= 0 and done is not None
    row["key"] = key
    standing = cluster_standing(table, row, selection.get("prefilter", "")) if is_clustered else {}
    criterion = selection.get("selection", "")
    if criterion in DRAWS and reason in (KEPT, NOT_DRAWN) and "kept" in standing:
        standing["draw"] = draw_standing(table, row, selection["seed"], in_cluster=criterion == UNIFORM)
    explanation = "not decided yet"
    if reason is not None:
        explanation = explain_outcome(
            reason,
            standing,
            selection=selection,
            score=scores["score"],
            twin=_twin(table, reason),
            stand_ins=repairs.stand_ins(key),
            is_passed_over=key in repairs.passed_over,
        )
    kept = None if reason is None else reason.startswith(KEPT)
    return {
        "kept": kept,
        "reason": reason,
        "explanation": explanation,
        "cluster": _cluster(folders, row["cluster"], standing) if is_clustered else None,
        "distance": {"value": row["distance"], "rank": standing["distance_rank"]} if is_clustered else None,
        "prototype_distance": number_or_none(row.get("prototype_distance")),
        "alignment": _rank(scores["alignment"], standing.get("alignment")),
        "score": _rank(scores["score"], standing.get("score"), by=criterion),
        "understudy": row.get("understudy") or 0,
        "captions": {
            "original": source["caption_original"],
            "generated": row.get("caption_generated") or generated or None,
            **_final(row if kept else {}, source["caption_original"], generated, config_of(folder / "refine")),
        },
    }


def _words(caption: str) -> np.ndarray:
    return count_words(pa.chunked_array([[caption]]))


def _twin(table: list[Path], reason: str) -> str:
    """The reason of the sample that a reason names; "" where it names none or there is no ledger yet."""
    for beginning in (NEAR_DUPLICATE, STANDS_IN):
        if reason.startswith(beginning):
            place = find_key(table, reason.removeprefix(beginning))
            return place.read(["reason"]).get("reason", "") if place else ""
    return ""


def _cluster(folders: dict[str, Path], cluster: int, standing: dict) -> dict:
    selections = parts_of(folders["select"]) if is_done(folders["select"]) else []
    return {
        "id": cluster,
        "of": config_of(folders["cluster"]).get("num_clusters"),
        "size": standing["size"],
        "kept": standing.get("kept"),
        "quota": count_kept(selections, cluster) if selections else None,
    }


def _rank(value: float | None, rank: dict | None, **told: str) -> dict | None:
    return None if value is None or rank is None else {**told, "value": value, **rank}


def _final(row: dict, original: str, generated: str, refine: dict) -> dict:
    """What became of the caption, by a kept sample's row."""
    if "caption" not in row:
        return {"final": None, "from": None, "explanation": None}
    alignments = [number_or_none(row.get(name)) for name in ("alignment", "alignment_generated")]
    generated = row["caption_generated"] or generated
    explanation = explain_caption(row["caption_from"], refine, alignments, original, generated)
    return {"final": row["caption"], "from": row["caption_from"], "explanation": explanation}
