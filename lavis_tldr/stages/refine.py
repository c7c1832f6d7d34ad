"""Refine: what becomes the caption of each kept sample (paper, sec. 3.2)."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.refinement import DECODED, GENERATED, ORIGINAL, refine_captions
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import PLACE, STAGES
from lavis_tldr.runs.tables import join_by_key
from lavis_tldr.sources import Part
from lavis_tldr.stages import caption, encode, score
from lavis_tldr.stages.alignment import combiner_of
from lavis_tldr.stages.bank import make_bank
from lavis_tldr.stages.candidates import Aligner, Candidates
from lavis_tldr.stages.context import Context, Given, finish_on_first, run_parts


def given(context: Context) -> Given:
    return Given(inputs={"model": context.model_digest})


def run(context: Context, stage: Stage) -> None:
    """Write ``refine/<part>.parquet``: what became of the captions of the kept samples."""
    mine = context.my_parts(stage)
    selection = context.stage("select")
    if context.config.borrows:
        make_bank(context, stage)
    refine = Refiner(context)

    def refined(part: Part) -> pa.Table:
        table = context.load_part(selection, part.name, ["key", "alignment", "kept"])
        return refine(part, table.filter(table["kept"]).select(["key", "alignment"]))

    counts, seconds = run_parts(context, stage, mine, map(refined, mine))
    finish_on_first(stage, counts, seconds)


class Refiner:
    """Makes the captions of samples by the recipe."""

    def __init__(self, context: Context):
        self.context = context
        self._align = _aligner(context) if context.config.scores_refined else _not_asked
        self._candidates = Candidates(context, self._align) if context.config.reranks else None

    def __call__(self, part: Part, wanted: pa.Table) -> pa.Table:
        """The captions of some samples of a part.

        Args:
            part: Of the source.
            wanted: key and alignment of the samples.

        Returns:
            The stage's columns, in the order of the part.
        """
        rows = self._rows(part, wanted)
        original, generated = rows["caption_original"].to_pylist(), _generated(self.context, part.name, rows)
        alignment = rows["alignment"].to_numpy()
        if self._candidates is None:
            alignment_generated, kinds = self._align(rows, part.name, generated), [DECODED] * len(rows)
        else:
            generated, alignment_generated, kinds = self._candidates.best(rows, part.name, generated)
        captions, origins = refine_captions(
            original,
            generated,
            self.context.config.recipe,
            alignment=alignment,
            alignment_generated=alignment_generated,
            threshold=self.context.config.gate,
            margin=self.context.config.gate_margin,
            joiner=self.context.config.joiner,
        )
        columns = {
            "key": rows["key"],
            "caption_generated": generated,
            "caption": captions,
            "caption_from": origins,
            "alignment_generated": alignment_generated,
            "alignment_refined": self._align_refined(rows, part.name, captions, origins, alignment_generated),
            "generated_by": kinds,
        }
        schema = STAGES["refine"].schema_for(self.context.config)
        return pa.table({name: columns[name] for name in schema.names}, schema=schema)

    def _rows(self, part: Part, wanted: pa.Table) -> pa.Table:
        columns = ["key", "caption_original", "codes", "feature"]
        if self.context.config.scores_refined:
            columns += ["image_key", *PLACE]
        table = self.context.load_part(self.context.stage("encode"), part.name, columns)
        table = table.filter(pc.is_in(table["key"], wanted["key"].combine_chunks()))
        return join_by_key(table, wanted, left_name="encode", right_name="select")

    def _align_refined(
        self, rows: pa.Table, part_name: str, captions: list[str], origins: list[str], generated: np.ndarray
    ) -> np.ndarray:
        """Alignment of the refined captions, (N,); those that are one of the two have been scored already."""
        if not self.context.config.scores_refined:
            return generated  # neither
        origin = np.array(origins, object)
        known = np.where(origin == ORIGINAL, rows["alignment"].to_numpy(), generated)
        new = np.flatnonzero((origin != ORIGINAL) & (origin != GENERATED))
        known[new] = self._align(rows.take(pa.array(new)), part_name, [captions[i] for i in new])
        return known


def _generated(context: Context, part_name: str, table: pa.Table) -> list[str]:
    """Captions of the samples of a part, from the stage that captions every image where the config asks for it."""
    if context.config.captions_all:
        return caption.load_captions(context, part_name, table["key"])
    return caption.caption(context, encode.images_of(table, context.model))


def _aligner(context: Context) -> Aligner:
    """How well captions fit their images, by the scorer that has scored the originals."""
    scorer, combine = score.scorer_of(context, context.stage("score")), combiner_of(context)

    def align(rows: pa.Table, part_name: str, captions: list[str]) -> np.ndarray:
        if not captions:
            return np.zeros(0, np.float32)
        alignment = combine(scorer(rows, part_name, captions, None))
        return np.where([bool(text.strip()) for text in captions], alignment, np.float32(np.nan))

    return align


def _not_asked(rows: pa.Table, part_name: str, captions: list[str]) -> np.ndarray:
    return np.full(len(captions), np.nan, np.float32)
