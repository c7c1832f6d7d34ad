"""What became of each record, told as the ledger's reason, and counted for the closing summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.criteria import CRITERIA, UNIFORM
from lavis_tldr.runs.stages import REPEATS

KEPT, DROPPED, FAILED = "kept", "dropped: ", "failed: "
STANDS_IN = KEPT + ": stands in for "
NOT_DRAWN = DROPPED + "not drawn"
FILTERED = DROPPED + "filtered: "
SHORT_CAPTION = FILTERED + "short caption"
CONCEPT_CAP, NO_CONCEPT = "concept cap", "no concept"  # why a concept cap leaves a sample out, after FILTERED
SHORTCOMINGS = {name: criterion.shortcoming for name, criterion in CRITERIA.items()}
NEAR_DUPLICATE = DROPPED + "near duplicate of "
LOST = DROPPED + "image gone missing"

Texts = Sequence[str] | pa.Array | pa.ChunkedArray


def reasons(
    errors: Texts,
    kept: np.ndarray,
    *,
    duplicate_of: Texts | None = None,
    score: np.ndarray | None = None,
    filtered: np.ndarray | None = None,
    is_short: np.ndarray | None = None,
    capped: Texts | None = None,
    selection: str = UNIFORM,
    prefilter: str = "",
    keys: Texts = (),
    replaced: Mapping[str, str] | None = None,
) -> pa.Array:
    """The ledger's reason for each record.

    Args:
        errors: (R,), "" where usable.
        kept: (R,), bool.
        duplicate_of: (R,), the key that a near duplicate repeats, or "".
        score: (R,), what the selection ranked by, NaN where the draw decided; None: it did everywhere.
        filtered: (R,), bool, True for what was left out before the selection; None: nothing.
        is_short: (R,), bool, True where that was for a short caption; None: nowhere.
        capped: (R,), why the concept cap left it out (``CONCEPT_CAP``, ``NO_CONCEPT``), or ""; None: nowhere.
        selection: By what samples were selected (``criteria.SELECTIONS``).
        prefilter: By what they were filtered before, or "".
        keys: (R,); needed with ``replaced``.
        replaced: Keys of samples whose image is lost, each with the key of its stand-in or "".

    Returns:
        (R,), strings.

    Raises:
        ValueError: If a record is kept though it failed, or if the lengths differ.
    """
    count = len(errors)
    twins = [""] * count if duplicate_of is None else duplicate_of
    scores = np.full(count, np.nan) if score is None else np.asarray(score, np.float64)
    left_out = np.zeros(count, bool) if filtered is None else np.asarray(filtered, bool)
    if not count == len(kept) == len(twins) == len(scores) == len(left_out):
        raise ValueError(
            f"found {count} errors, {len(kept)} kept flags, {len(twins)} duplicates, {len(scores)} scores and "
            f"{len(left_out)} filtered flags; all must be given for every record."
        )
    errors, twins = _strings(errors), _strings(twins)
    is_failed, is_kept = pc.not_equal(errors, ""), pa.array(np.asarray(kept, bool))
    first_of_both = pc.index(pc.and_(is_failed, is_kept), True).as_py()
    if first_of_both >= 0:
        raise ValueError(f"a record is kept though it has error {errors[first_of_both].as_py()!r}; it can't be both.")
    short = np.zeros(count, bool) if is_short is None else np.asarray(is_short, bool)
    capped = _strings([""] * count if capped is None else capped)
    # The first that holds is told.
    endings = (
        (is_failed, _after(FAILED, errors)),
        (is_kept, KEPT),
        (pa.array(left_out & short), SHORT_CAPTION),
        (pc.not_equal(capped, ""), _after(FILTERED, capped)),
        (pa.array(left_out), FILTERED + SHORTCOMINGS.get(prefilter, "")),
        (pc.not_equal(twins, ""), _after(NEAR_DUPLICATE, twins)),
        (pa.array(np.isnan(scores)), NOT_DRAWN),
    )
    found = _first_that_holds(endings, pa.repeat(DROPPED + SHORTCOMINGS.get(selection, ""), count))
    if not replaced:
        return found
    keys, lost_by = _strings(keys), {other: lost for lost, other in replaced.items() if other}
    lost = _strings(list(lost_by.values())).take(pc.index_in(keys, value_set=_strings(list(lost_by))))
    repairs = (
        (pc.is_in(keys, value_set=_strings(list(replaced))), LOST),
        (pc.is_valid(lost), _after(STANDS_IN, lost)),
    )
    return _first_that_holds(repairs, found)


def _strings(texts: Texts) -> pa.Array:
    if isinstance(texts, pa.ChunkedArray):
        return texts.combine_chunks()
    return texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())


def _after(beginning: str, texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(beginning, texts, "")


def _first_that_holds(endings: Sequence[tuple[pa.Array, pa.Array | str]], otherwise: pa.Array) -> pa.Array:
    """For each row what goes with the first condition that is true, (R,)."""
    conditions, told = zip(*endings, strict=True)
    return pc.case_when(pc.make_struct(*conditions), *told, otherwise)


def summarise(ledger: Iterable[pa.Table], num_clusters: int | None = None) -> dict:
    """The counts for the closing summary.

    Args:
        ledger: Its parts (``iter_ledger``), or tables of the columns reason, cluster and caption_from, and repeats
            where samples may be kept more than once.
        num_clusters: C, so that empty clusters count in the sizes; None counts those with a member.

    Returns:
        ``read``; ``failed`` {error: count}; ``kept``, and ``drawn``, which counts a sample as often as it is kept,
        where the ledger tells that; ``dropped`` {why: count}, near duplicates in one;
        ``kept_share`` of all read and ``kept_share_usable`` of those without error, both 0 for nothing;
        ``caption_from`` {origin: count} of the kept; ``cluster_sizes`` {clusters, empty, min, median, max}.
    """
    failed, dropped, origins = Counter(), Counter(), Counter()
    sizes = np.zeros(num_clusters or 0, np.int64)
    read = kept = drawn = 0
    tells_repeats = False
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
        repeats = table[REPEATS] if REPEATS in table.column_names else pa.chunked_array([], pa.int32())
        if len(repeats) > repeats.null_count:  # else of a set without
            tells_repeats, drawn = True, drawn + pc.sum(repeats).as_py()
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
        **({"drawn": drawn} if tells_repeats else {}),
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
