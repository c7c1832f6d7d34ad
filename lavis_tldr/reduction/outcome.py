"""What became of each record, told as the ledger's reason, and counted for the closing summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KEPT = "kept"
NOT_DRAWN = "dropped: not drawn"
LOW_ALIGNMENT = "dropped: low alignment"
NEAR_DUPLICATE = "dropped: near duplicate of "
FAILED = "failed: "


def reasons(
    errors: Sequence[str],
    kept: np.ndarray,
    *,
    duplicate_of: Sequence[str] | None = None,
    alignment: np.ndarray | None = None,
) -> list[str]:
    """The ledger's reason for each record.

    Args:
        errors: (R,), "" where usable.
        kept: (R,), bool.
        duplicate_of: (R,), the key that a near duplicate repeats, or "".
        alignment: (R,), the scores that the selection went by, NaN where there was none; leave out where the
            selection did not go by scores.

    Raises:
        ValueError: If a record is kept though it failed or is a near duplicate, or if the lengths differ.
    """
    count = len(errors)
    twins = [""] * count if duplicate_of is None else duplicate_of
    scores = np.full(count, np.nan) if alignment is None else np.asarray(alignment, dtype=np.float64)
    if not count == len(kept) == len(twins) == len(scores):
        raise ValueError(
            f"found {count} errors, {len(kept)} kept flags, {len(twins)} duplicates and {len(scores)} "
            "scores; all must be given for every record (selection.spread_to_records)."
        )
    return [_reason(*row) for row in zip(errors, kept, twins, scores, strict=True)]


def _reason(error: str, kept: bool, twin: str, score: float) -> str:
    if kept and (error or twin):
        raise ValueError(f"a record is kept though it has error {error!r} and repeats {twin!r}; it can't be both.")
    if error:
        return FAILED + error
    if kept:
        return KEPT
    if twin:
        return NEAR_DUPLICATE + twin
    return NOT_DRAWN if np.isnan(score) else LOW_ALIGNMENT


def summarise(table: pa.Table, num_clusters: int | None = None) -> dict:
    """The counts for the closing summary.

    Args:
        table: A ledger.
        num_clusters: C, so that empty clusters count in the sizes; None counts those with a member.

    Returns:
        ``read``; ``failed`` {error: count}; ``kept``; ``dropped`` {why: count}, near duplicates in one;
        ``kept_share`` of all read and ``kept_share_usable`` of those without error, both 0 for nothing;
        ``caption_from`` {origin: count} of the kept; ``cluster_sizes`` {clusters, empty, min, median, max}.
    """
    failed, dropped = Counter(), Counter()
    for reason, count in _counts(table["reason"]).items():
        if reason.startswith(FAILED):
            failed[reason.removeprefix(FAILED)] += count
        elif reason.startswith(NEAR_DUPLICATE):
            dropped["near duplicate"] += count
        elif reason != KEPT:
            dropped[reason.removeprefix("dropped: ")] += count
    kept = table.filter(table["kept"])
    usable = table.num_rows - sum(failed.values())
    cluster_ids = table["cluster"].to_numpy()
    sizes = np.bincount(cluster_ids[cluster_ids >= 0], minlength=num_clusters or 0)
    if num_clusters is None:
        sizes = sizes[sizes > 0]
    return {
        "read": table.num_rows,
        "failed": dict(sorted(failed.items())),
        "kept": kept.num_rows,
        "dropped": dict(sorted(dropped.items())),
        "kept_share": kept.num_rows / table.num_rows if table.num_rows else 0.0,
        "kept_share_usable": kept.num_rows / usable if usable else 0.0,
        "caption_from": dict(sorted(_counts(kept["caption_from"]).items())),
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
