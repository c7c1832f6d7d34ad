"""The captions that refining may borrow: those that fit their own images, and those known to be right."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from lavis_tldr.reduction.alignments import ALIGNMENTS
from lavis_tldr.reduction.draw import draw_rows
from lavis_tldr.runs.code_tables import list_column, rows_of
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.tables import join_by_key
from lavis_tldr.scoring.caption_bank import CaptionBank, plain
from lavis_tldr.scoring.contrastive import ContrastiveScorer
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context, make_once
from lavis_tldr.stages.score import SCORER

BANK = "bank.parquet"


def make_bank(context: Context, stage: Stage) -> None:
    """Write the file of the stage refine that holds the captions and their embeddings, where it is not there yet."""
    make_once(stage, BANK, lambda: _writer(context))


def load_bank(context: Context, stage: Stage) -> CaptionBank:
    """The bank that `make_bank` wrote for a set."""
    table = pq.read_table(stage.folder / BANK)
    texts = rows_of(table["embedding"], len(table["embedding"][0]), np.float32)
    score = context.stage("score")
    scorer = ContrastiveScorer.load(score.folder / SCORER, context.config.alignment_seed)
    return CaptionBank(scorer, table["caption"].to_pylist(), torch.from_numpy(texts))


def _writer(context: Context) -> Callable[[Path], None]:
    captions = _captions(context)
    if not captions:
        raise ValueError(
            "run.num_borrowed asks for captions to borrow, but no caption of the source fits its image, and there are "
            "no pairs known to be right (datasets.tldr_captions.train). Give such pairs, or set run.num_borrowed to 0."
        )
    embedded = context.sentence_encoder(captions).numpy().astype(np.float32)
    table = pa.table({"caption": captions, "embedding": list_column(embedded, [True] * len(captions))})
    return lambda path: pq.write_table(table, path)


def _captions(context: Context) -> list[str]:
    """At most ``bank_size`` different captions, sorted: those known to be right, then drawn ones that fit."""
    known: dict[str, str] = {}
    if context.trusted is not None:
        for _, _, captions in context.trusted.items:
            for caption in captions:
                known.setdefault(plain(caption), caption)
    size = context.config.bank_size
    for caption in _drawn(context, size):
        if len(known) >= size:
            break
        known.setdefault(plain(caption), caption)
    return sorted(known.values())[:size]


def _drawn(context: Context, size: int) -> list[str]:
    """At most ``size`` captions that fit their images, drawn by their keys, in order of key."""
    keys = (_fitting(context, name)["key"].to_pylist() for name in context.part_names)
    part, row, _ = draw_rows(keys, size, seed=context.config.alignment_seed)
    captions = np.empty(len(part), object)
    # Read again, not kept: of a large set the captions that fit are far more than those drawn.
    for number in np.unique(part):
        places = np.flatnonzero(part == number)
        found = _fitting(context, context.part_names[number])["caption_original"]
        captions[places] = found.take(pa.array(row[places])).to_pylist()
    return captions.tolist()


def _fitting(context: Context, part_name: str) -> pa.Table:
    """Key and caption of a part's samples whose caption fits its image."""
    captions = encode.load_usable(context, part_name, ["key", "caption_original"])
    column = next(iter(ALIGNMENTS["contrastive"].columns))
    scores = context.load_part(context.stage("score"), part_name, ["key", column])
    table = join_by_key(captions, scores, left_name="encode", right_name="score")
    return table.filter(pc.greater_equal(table[column], context.config.gate)).select(["key", "caption_original"])
