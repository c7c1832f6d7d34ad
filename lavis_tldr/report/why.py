"""What became of one sample, and why: its rows in the tables of every stage, and where it stands in its cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.exports.finished_ledger import read_json
from lavis_tldr.reduction.concepts import ConceptMatcher
from lavis_tldr.reduction.criteria import CRITERIA, DRAWS, UNIFORM, score_by
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.words import count_words
from lavis_tldr.report.lookup import (
    closest_keys,
    config_of,
    find_key,
    is_done,
    keys_with_prefix,
    number_or_none,
    open_parquet,
    parts_of,
    row_in,
)
from lavis_tldr.report.why_text import explain_caption, explain_outcome
from lavis_tldr.runs.outcomes import FILTERED, KEPT, NEAR_DUPLICATE, NOT_DRAWN, STANDS_IN, reasons
from lavis_tldr.runs.reduced_sets import locate_run, shared_folders, stage_folders
from lavis_tldr.runs.repairs import Repairs
from lavis_tldr.runs.stages import CONCEPTS, REPEATS

_SOURCE = ("image_key", "caption_original", "error", "image_path", "image_offset", "image_size")
_MOST_KEYS = 5
_RANKED = ("alignment", "score")
_OUTCOME = ("key", "cluster", "kept", "reason", "filtered", "duplicate_of")
_COLUMNS = (*_OUTCOME, "distance", "prototype_distance", *_RANKED)


def why(run: Path | str, key: str, name: str | None = None) -> dict:
    """Trace one sample through a run, as JSON can say it.

    Args:
        run: The run folder, or one reduced set's folder in it.
        key: The sample's.
        name: Only this set; else all.

    Returns:
        ``run``; ``key``; ``source``: the record as it was read, with its ``part``; ``scores`` by name, those that were
        asked for; ``sets``: a `set_account` by name.

    Raises:
        ValueError: If there is no such run, set or sample; names the closest keys.
    """
    root, names = locate_run(run, name)
    if not _is_text(key):
        raise ValueError(
            f"{key!r} is no valid text, so no sample can have it as its key: look at the shell's encoding."
        )
    # A ledger is smaller than what it was made from; one that is done holds every key.
    ledgers = [root / name / "ledger" for name in names if is_done(root / name / "ledger")]
    paths = parts_of((ledgers or [root / "encode"])[0])
    if not paths:
        raise ValueError(f"{root} has no records yet: `lavis-tldr inspect` says how far it has come.")
    place = find_key(paths, key)
    if place is None:
        so_far = "" if ledgers or is_done(root / "encode") else f" in the {len(paths):,} parts encoded so far"
        raise ValueError(f"{root} has no sample with key {key!r}{so_far}. {_hint(paths, key)}")
    source = {"part": place.path.stem, **place.read(_SOURCE)}
    scored = {}
    for stage, folder in shared_folders(root, names).items():
        if stage.startswith("score/"):
            for column, value in row_in(folder, source["part"], key).items():
                # Of two variants that differ in it (other targets, say), the later is told by its name.
                known = scored.get(column, value)
                scored[column if known == value else f"{column} ({folder.name})"] = value
    scores = {column: number_or_none(value) for column, value in scored.items() if column != "key"}
    generated = row_in(root / "caption", source["part"], key).get("caption_generated", "")
    return {
        "run": str(root),
        "key": key,
        "source": source,
        "scores": {column: value for column, value in scores.items() if value is not None},
        "sets": {name: set_account(root / name, key, source, generated) for name in names},
    }


def _hint(paths: Sequence[Path], key: str) -> str:
    """What the user may have meant."""
    if pairs := keys_with_prefix(paths, f"{key}#", _MOST_KEYS):
        return f"It is an image with several captions, each a sample of its own: {_listed(pairs)}."
    prefixed = [f"{path.stem}/{key}" for path in paths if find_key([path], f"{path.stem}/{key}")]
    if prefixed:
        return f"The source was read with key_prefix: true, so its keys begin with the tar's name: {_listed(prefixed)}."
    if closest := closest_keys(paths, key):
        return f"Closest keys: {_listed(closest)}."
    return (
        "Keys are those of the source: a tar's member names without suffix (TAR/KEY with key_prefix: true), or an "
        "annotation's image path (KEY#0, KEY#1, ... where an image has several captions)."
    )


def _listed(keys: Sequence[str]) -> str:
    more = ", ..." if len(keys) >= _MOST_KEYS else ""
    return ", ".join(repr(key) for key in keys[:_MOST_KEYS]) + more


def _is_text(key: str) -> bool:
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def set_account(folder: Path, key: str, source: dict, generated: str) -> dict:
    """What one reduced set made of a sample; what is not decided yet is None.

    Args:
        folder: The set's.
        key: The sample's.
        source: Its record, with ``part``, ``error`` and ``caption_original``.
        generated: Its generated caption as the scores have it, or "".

    Returns:
        - ``kept``, ``reason`` (the ledger's) and ``explanation``
        - ``repeats``: how often it is kept, in a set that may keep a sample more than once
        - ``cluster``: ``id``, ``of`` how many, ``size``, ``kept`` and ``quota`` (how many the selection gave it, with
          repeats); None for a sample in none
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
            capped=[row.get("capped") or ""],
            selection=selection.get("selection", ""),
            prefilter=selection.get("prefilter", ""),
            keys=[key],
            replaced=repairs.replaced,
        ).to_pylist()
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
            repeats=row.get(REPEATS),
            concepts=_concepts(folder / "select", source["caption_original"]) if "concept_cap" in selection else {},
        )
    kept = None if reason is None else reason.startswith(KEPT)
    return {
        "kept": kept,
        "reason": reason,
        "explanation": explanation,
        **({REPEATS: row[REPEATS]} if row.get(REPEATS) is not None else {}),
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


def _concepts(select: Path, caption: str) -> dict:
    """What a concept cap made of a caption: how many of a concept pass, ``cap``; how many concepts there are,
    ``number``; and the samples of each of the caption's own, ``sizes``."""
    known = read_json(select / CONCEPTS)
    if known is None:
        return {}
    names = list(known["concepts"])
    sizes = {names[number]: known["concepts"][names[number]] for number in ConceptMatcher(names)(caption)}
    return {"cap": known["cap"], "number": len(names), "sizes": sizes}


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


def cluster_standing(paths: Sequence[Path], row: dict, prefilter: str = "") -> dict:
    """Stream a ledger, a selection or the clusters, and say where one sample stands in its cluster.

    Args:
        paths: The table's parts.
        row: The sample's, with ``key``, ``cluster``, ``distance`` and what else is known of it.
        prefilter: The criterion that samples were filtered by before.

    Returns:
        - ``size`` of the cluster and ``distance_rank``, 1 the nearest
        - with a ledger or a selection ``kept``: how many of the cluster, and of the others ``num_filtered`` and
          ``num_repeats`` (near duplicates)
        - likewise ``alignment`` and ``score`` where the sample has one: ``rank``, 1 the best, ``of`` those that are
          neither filtered nor near duplicates, and ``lowest_kept`` among them, None where none is
        - likewise ``filter`` where the table tells by what was filtered: ``rank``, 1 the best, ``of`` all
    """
    standing = {"size": 0, "distance_rank": 1}
    for members in _rows(paths, row["cluster"]):
        standing["size"] += members.num_rows
        standing["distance_rank"] += int((members["distance"].to_numpy() < row["distance"]).sum())
        if "kept" in members.column_names:
            _add_outcome(standing, members, row)
            _add_filter(standing, members, row, prefilter)
    return standing


def draw_standing(paths: Sequence[Path], row: dict, seed: int, *, in_cluster: bool) -> dict:
    """Stream a ledger or a selection, and say when one sample is drawn.

    Args:
        paths: The table's parts.
        row: The sample's, with ``key`` and ``cluster``.
        seed: Of the draw.
        in_cluster: Whether it is drawn from its cluster, or from all.

    Returns:
        ``rank``, 1 the first drawn, ``of`` those that can be drawn, being neither filtered nor near duplicates, and how
        many are ``kept``.
    """
    found = {"rank": 1, "of": 0, "kept": 0}
    own = draw_priority([row["key"]], seed)
    for rows in _rows(paths, row["cluster"] if in_cluster else None, _OUTCOME):
        filtered, repeats = _left_out(rows, row["key"])
        drawn = rows.filter(pa.array(~(filtered | repeats)))
        found["rank"] += int((draw_priority(drawn["key"].to_pylist(), seed) < own).sum())
        found["of"] += drawn.num_rows
        found["kept"] += int(drawn["kept"].to_numpy().sum())
    return found


def count_kept(paths: Sequence[Path], cluster: int) -> int:
    """How many samples of a cluster a selection keeps, each as often as it does."""
    found = 0
    for members in _rows(paths, cluster, ("cluster", "kept", REPEATS)):
        found += int(members[REPEATS if REPEATS in members.column_names else "kept"].to_numpy().sum())
    return found


def _add_outcome(standing: dict, members: pa.Table, row: dict) -> None:
    kept = members["kept"].to_numpy()
    filtered, repeats = _left_out(members, row["key"])
    for name, flags in (("kept", kept), ("num_filtered", filtered), ("num_repeats", repeats)):
        standing[name] = standing.get(name, 0) + int(flags.sum())
    for name in _RANKED:
        if name in members.column_names and not math.isnan(row.get(name, math.nan)):
            rank = standing.setdefault(name, {"rank": 1, "of": 0, "lowest_kept": None})
            values = members[name].to_numpy()
            ranked = ~np.isnan(values) & ~filtered & ~repeats
            rank["rank"] += int((values[ranked] > row[name]).sum())
            rank["of"] += int(ranked.sum())
            lowest = [] if rank["lowest_kept"] is None else [rank["lowest_kept"]]
            rank["lowest_kept"] = min([*values[ranked & kept].tolist(), *lowest], default=None)


def _add_filter(standing: dict, members: pa.Table, row: dict, prefilter: str) -> None:
    column = CRITERIA[prefilter].column if prefilter else ""
    if column in members.column_names and not math.isnan(row.get(column, math.nan)):
        rank = standing.setdefault("filter", {"rank": 1, "of": 0})
        scores = score_by(prefilter, members[column].to_numpy())
        rank["rank"] += int((scores > score_by(prefilter, row[column])).sum())
        rank["of"] += len(scores)


def _left_out(rows: pa.Table, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Which samples other than one were filtered, and which are near duplicates, (n,), bool."""
    others = pc.not_equal(rows["key"], key).to_numpy()
    if "reason" in rows.column_names:
        flags = (pc.starts_with(rows["reason"], beginning) for beginning in (FILTERED, NEAR_DUPLICATE))
    else:
        flags = rows["filtered"], pc.not_equal(rows["duplicate_of"], "")
    filtered, repeats = (column.to_numpy() & others for column in flags)
    return filtered, repeats


def _rows(paths: Sequence[Path], cluster: int | None, columns: Sequence[str] = _COLUMNS) -> Iterator[pa.Table]:
    """The rows of a cluster, or of all, row group by row group, so that memory does not grow with the set."""
    for path in paths:
        with open_parquet(path) as file:
            wanted = [name for name in columns if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=wanted)
                yield table if cluster is None else table.filter(pc.equal(table["cluster"], cluster))
