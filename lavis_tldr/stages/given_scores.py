"""Scores of a source's pairs by the embeddings that ``run.embeddings`` names (alignment given)."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch

from lavis_tldr.models.collectives import from_rank_zero
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.scoring.given_scores import NegClip, cosine_scores
from lavis_tldr.sources.embeddings import IMAGES, SCORES, TEXTS
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context, make_once
from lavis_tldr.stages.sampling import draw_sample, load_drawn
from lavis_tldr.stages.score_settings import NEGCLIP

OTHERS = "others.safetensors"
_NUM_OTHERS = 4096


def prepare(context: Context, stage: Stage) -> None:
    """Check that every usable sample has a row, and draw the pairs that all are compared with.

    Raises:
        ValueError: If samples have none, or rows' keys are doubled; says how many and the first.
    """
    if refusal := from_rank_zero(lambda: _missing(context)):
        raise ValueError(refusal)
    if _compares(context):
        make_once(stage, OTHERS, lambda: _others(context).save)


def scorer_of(context: Context, stage: Stage) -> Callable[..., dict[str, np.ndarray]]:
    """Scores of the original captions, as `lavis_tldr.stages.score.Scorer` gives them."""
    embeddings = context.embeddings
    others = NegClip.load(stage.folder / OTHERS, context.config.given_temperature) if _compares(context) else None

    def score(table: pa.Table, part_name: str, captions: list[str], folds: np.ndarray | None) -> dict[str, np.ndarray]:
        rows = embeddings.find(table["key"].to_pylist())
        found = {name: torch.from_numpy(values) for name, values in embeddings.take(rows).items()}
        if SCORES in found:
            return {"given": found[SCORES].numpy()}
        pairs = found[IMAGES], found[TEXTS]
        scores = cosine_scores(*pairs) if others is None else others(*pairs, table["image_key"].to_pylist())
        return {"given": scores.numpy()}

    return score


def _compares(context: Context) -> bool:
    return SCORES not in context.embeddings.names and context.config.given_score == NEGCLIP


def _missing(context: Context) -> str:
    """What is wrong where samples have no row; "" where all have one."""
    count, first = 0, ""
    for name in context.part_names:
        keys = encode.load_usable(context, name, ["key"])["key"].to_pylist()
        absent = np.flatnonzero(context.embeddings.find(keys) < 0)
        first = first or (keys[absent[0]] if len(absent) else "")
        count += len(absent)
    if not count:
        return ""
    return (
        f"run.embeddings lacks {count} of the source's usable pairs (first: {first!r}). Give each a row; one without "
        "an embedding may be NaN or null, and is left unscored."
    )


def _others(context: Context) -> NegClip:
    sample = draw_sample(context, _NUM_OTHERS, context.config.alignment_seed)
    image_keys = [""] * len(sample)
    for table, places in load_drawn(context, sample, ["image_key"]):
        for place, key in zip(places, table["image_key"].to_pylist(), strict=True):
            image_keys[place] = key
    # In the order of the files, so that of a table each row group is read once.
    rows = context.embeddings.find(sample.keys)
    order = np.argsort(rows, kind="stable")
    found = context.embeddings.take(rows[order])
    images, texts = (torch.from_numpy(found[name][np.argsort(order)]) for name in (IMAGES, TEXTS))
    return NegClip.among(images, texts, image_keys, context.config.given_temperature)
