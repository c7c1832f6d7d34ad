"""The samples that a concept cap leaves out, in bounded memory (for `select`)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from lavis.common.dist_utils import is_main_process

from lavis_tldr.codebook.keywords import frequent_keywords
from lavis_tldr.files import write_whole
from lavis_tldr.models.collectives import barrier, from_rank_zero
from lavis_tldr.reduction.concepts import ConceptCuts, ConceptMatcher, cap_of
from lavis_tldr.reduction.criteria import rank_bits
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.runs.outcomes import CONCEPT_CAP, NO_CONCEPT
from lavis_tldr.runs.regroup import read_bins, write_bins
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import CONCEPTS
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context, share_missing
from lavis_tldr.stages.measures import Measures, scores_of
from lavis_tldr.stages.sampling import draw_sample, load_drawn

_MAX_CAPTIONS = 50_000  # that keywords are counted in: NLTK's tagger takes about a minute for them
_PAIRS = ["row", "concept", "bits", "priority"]


@dataclass(frozen=True)
class ConceptCap:
    """What is known of the concepts of all samples.

    Attributes:
        folder: Of a file for each part, with a row for each pair of a sample and a concept of its caption.
        cuts: Where each concept is cut.
        keeps_unmatched: Whether samples without concept pass.
    """

    folder: Path
    cuts: ConceptCuts
    keeps_unmatched: bool

    @classmethod
    def find(cls, context: Context, stage: Stage, folder: Path, measures: Measures, num_samples: int) -> "ConceptCap":
        """Match all captions and find the cuts; to be asked by all processes together.

        Args:
            context: The run.
            stage: The stage select, open: its file `CONCEPTS` is written.
            folder: For the files by part.
            measures: Of the samples of any part.
            num_samples: N, of the whole set.
        """
        concepts = from_rank_zero(lambda: _concepts(context, folder))
        matcher, cap = ConceptMatcher(concepts), cap_of(context.config.concept_cap, num_samples)
        for name in share_missing(context.part_names, lambda name: _path(folder, name)):
            _match(context, name, matcher, measures, _path(folder, name))
        barrier()

        def blocks() -> Iterator[tuple[np.ndarray, ...]]:
            for name in context.part_names:
                table = read_bins(_path(folder, name), _PAIRS[1:])
                yield tuple(table[column].to_numpy() for column in _PAIRS[1:])

        cuts = from_rank_zero(lambda: ConceptCuts.find(blocks, len(concepts), cap))
        if is_main_process():
            with stage.write(CONCEPTS) as path:
                found = {"cap": cap, "concepts": dict(zip(concepts, cuts.sizes.tolist(), strict=True))}
                path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        return cls(folder, cuts, context.config.keep_unmatched)

    def left_out(self, part_name: str, bits: np.ndarray, priority: np.ndarray) -> pa.Array:
        """Why each sample of a part is left out (`CONCEPT_CAP`, `NO_CONCEPT`), or "", (N,).

        Args:
            part_name: Of the part.
            bits, priority: Rank bits and draw priorities of its samples, (N,).
        """
        table = read_bins(_path(self.folder, part_name), _PAIRS[:2])
        rows, concepts = (table[column].to_numpy() for column in _PAIRS[:2])
        passes = self.cuts.passes(rows, concepts, bits, priority)
        has_concept = np.bincount(rows, minlength=len(bits)) > 0
        unmatched = "" if self.keeps_unmatched else NO_CONCEPT
        return pa.array(np.where(passes, "", np.where(has_concept, CONCEPT_CAP, unmatched)), pa.string())


def ranks_of(measures: pa.Table, context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Rank bits by the selection's score, and draw priorities, of samples, (N,) each."""
    priority = draw_priority(measures["key"].to_pylist(), context.config.seed)
    return rank_bits(scores_of(measures, context.config.selection)), priority


def _path(folder: Path, part_name: str) -> Path:
    return folder / f"concepts-{part_name}.arrow"


def _match(context: Context, part_name: str, matcher: ConceptMatcher, measures: Measures, path: Path) -> None:
    captions = encode.load_usable(context, part_name, ["caption_original"])["caption_original"]
    rows, concepts = matcher.match_all(captions.to_pylist())
    bits, priority = ranks_of(measures(part_name), context)
    table = pa.table(dict(zip(_PAIRS, (rows, concepts, bits[rows], priority[rows]), strict=True)))
    with write_whole(path) as path:
        write_bins(table, np.zeros(len(rows), np.int64), 1, path)


def _concepts(context: Context, folder: Path) -> list[str]:
    """The names of the codes, or as many keywords of the set; once found they stay, whatever NLTK has installed."""
    path = folder / CONCEPTS
    if not path.is_file():
        with write_whole(path) as temporary:
            temporary.write_text(json.dumps(_named_codes(context) or _keywords(context)), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def _named_codes(context: Context) -> list[str]:
    return list(dict.fromkeys(context.model.code_names))


def _keywords(context: Context) -> list[str]:
    drawn = draw_sample(context, _MAX_CAPTIONS, context.config.seed)
    tables = load_drawn(context, drawn, ["caption_original"])
    captions = (caption for table, _ in tables for caption in table["caption_original"].to_pylist())
    return frequent_keywords(captions, context.model.quantizer.num_codes)
