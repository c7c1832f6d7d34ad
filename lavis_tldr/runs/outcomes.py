"""What became of each record, told as the ledger's reason, and counted for the closing summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.criteria import CRITERIA, UNIFORM

KEPT, DROPPED, FAILED = "kept", "dropped: ", "failed: "
STANDS_IN = KEPT + ": stands in for "
NOT_DRAWN = DROPPED + "not drawn"
FILTERED = DROPPED + "filtered: "
SHORT_CAPTION = FILTERED + "short caption"
SHORTCOMINGS = {name: criterion.shortcoming for name, criterion in CRITERIA.items()}
NEAR_DUPLICATE = DROPPED + "near duplicate of "
LOST = DROPPED + "image gone missing"


def reasons(
    errors: Sequence[str],
    kept: np.ndarray,
    *,
    duplicate_of: Sequence[str] | None = None,
    score: np.ndarray | None = None,
    filtered: np.ndarray | None = None,
    is_short: np.ndarray | None = None,
    selection: str = UNIFORM,
    prefilter: str = "",
    keys: Sequence[str] = (),
    replaced: Mapping[str, str] | None = None,
) -> list[str]:
    """The ledger's reason for each record.

    Args:
        errors: (R,), "" where usable.
        kept: (R,), bool.
        duplicate_of: (R,), the key that a near duplicate repeats, or "".
        score: (R,), what the selection ranked by, NaN where the draw decided; None: it did everywhere.
        filtered: (R,), bool, True for what was left out before the selection; None: nothing.
        is_short: (R,), bool, True where that was for a short caption; None: nowhere.
        selection: By what samples were selected (``criteria.SELECTIONS``).
        prefilter: By what they were filtered before, or "".
        keys: (R,); needed with ``replaced``.
        replaced: Keys of samples whose image is lost, each with the key of its stand-in or "".

    Raises:
        ValueError: If a record is kept though it failed or is a near duplicate, or if the lengths differ.
    """
    count = len(errors)
    twins = [""] * count if duplicate_of is None else duplicate_of
    scores = np.full(count, np.nan) if score is None else np.asarray(score, np.float64)
    left_out = np.zeros(count, bool) if filtered is None else filtered
    if not count == len(kept) == len(twins) == len(scores) == len(left_out):
        raise ValueError(
            f"found {count} errors, {len(kept)} kept flags, {len(twins)} duplicates, {len(scores)} scores and "
            f"{len(left_out)} filtered flags; all must be given for every record."
        )
    worse = DROPPED + SHORTCOMINGS.get(selection, "")
    unfit = FILTERED + SHORTCOMINGS.get(prefilter, "")
    unfit_for = np.where(np.zeros(count, bool) if is_short is None else is_short, SHORT_CAPTION, unfit)
    left_out = np.where(left_out, unfit_for, "").tolist()
    found = [_reason(*row, worse=worse) for row in zip(errors, kept, twins, scores, left_out, strict=True)]
    if replaced:
        stand_ins = {other: lost for lost, other in replaced.items() if other}
        for row, key in enumerate(keys):
            if key in replaced:
                found[row] = LOST
            elif key in stand_ins:
                found[row] = STANDS_IN + stand_ins[key]
    return found


def _reason(error: str, kept: bool, twin: str, score: float, unfit: str, *, worse: str) -> str:
    if kept and error:
        raise ValueError(f"a record is kept though it has error {error!r}; it can't be both.")
    if error:
        return FAILED + error
    if kept:
        return KEPT
    if unfit:
        return unfit
    if twin:
        return NEAR_DUPLICATE + twin
    return NOT_DRAWN if np.isnan(score) else worse


def summarise(ledger: Iterable[pa.Table], num_clusters: int | None = None) -> dict:
    """The counts for the closing summary.

    Args:
        ledger: Its parts (``iter_ledger``), or tables of the columns reason, cluster and caption_from.
        num_clusters: C, so that empty clusters count in the sizes; None counts those with a member.

    Returns:
        ``read``; ``failed`` {error: count}; ``kept``; ``dropped`` {why: count}, near duplicates in one;
        ``kept_share`` of all read and ``kept_share_usable`` of those without error, both 0 for nothing;
        ``caption_from`` {origin: count} of the kept; ``cluster_sizes`` {clusters, empty, min, median, max}.
    """
    failed, dropped, origins = Counter(), Counter(), Counter()
    sizes = np.zeros(num_clusters or 0, np.int64)
    read = kept = 0
    for table in ledger:
        read += table.num_rows
        for reason, count in _counts(table["reason"]).items():
            if reason.startswith(FAILED):
                failed[reason.removeprefix(FAILED)] += count
            elif reason.startswith(NEAR_DUPLICATE):
                dropped["near duplicate"] += count
            elif reason.startswith(DROPPED):
                dropped[reason.removeprefix(DROPPED)] += count
            else:
                kept += count
        origins.update(_counts(table["caption_from"].filter(pc.starts_with(table["reason"], KEPT))))
        cluster_ids = table["cluster"].to_numpy()
        here = np.bincount(cluster_ids[cluster_ids >= 0], minlength=len(sizes))
        here[: len(sizes)] += sizes
        sizes = here
    if num_clusters is None:
        sizes = sizes[sizes > 0]
    usable = read - sum(failed.values())
    return {
        "read": read,
        "failed": dict(sorted(failed.items())),
        "kept": kept,
        "dropped": dict(sorted(dropped.items())),
        "kept_share": kept / read if read else 0.0,
        "kept_share_usable": kept / usable if usable else 0.0,
        "caption_from": dict(sorted(origins.items())),
        "cluster_sizes": {
            "clusters": len(sizes),
            "empty": int((sizes == 0).sum()),
            "min": int(sizes.min()) if len(sizes) else 0,
            "median": float(np.median(sizes)) if len(sizes) else 0.0,
            "max": int(sizes.max()) if len(sizes) else 0,
        },
    }


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}
