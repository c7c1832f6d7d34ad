"""What every stage of a reduction is given."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from lavis.common.dist_utils import get_rank, get_world_size, is_main_process
from tqdm import tqdm

from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.source_parts import SourceParts
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.runners.process_group import from_rank_zero
from lavis_tldr.sources import Part
from lavis_tldr.tasks.captioner_start import barrier
from lavis_tldr.tasks.image_features import encoder_fingerprint
from lavis_tldr.tasks.reduce_config import SHARED_STAGES, ReduceConfig


@dataclass
class Context:
    """The run of one reduction.

    Attributes:
        root: The run folder.
        config: Settings under ``run``.
        parts: The source and its image processor.
        model: The trained captioner.
        model_digest: Digest of its weights and of the settings that its codes and captions depend on.
        device: Where the model runs.
        trusted: Pairs known to be right, for the contrastive scorer to learn from, or None.
        ran: The stages that this call ran; the others were done before.
    """

    root: Path
    config: ReduceConfig
    parts: SourceParts
    model: CodebookCaptioner
    model_digest: str
    device: str
    trusted: CaptionPairs | None = None
    ran: list[str] = field(default_factory=list)

    @cached_property
    def part_names(self) -> list[str]:
        return [part.name for part in self.parts.source.parts]

    @cached_property
    def cached_features(self) -> FeatureCache | None:
        """Patch features that training has computed with the same encoder, where the config names them."""
        if not self.config.feature_cache:
            return None
        if not Path(self.config.feature_cache).is_dir():
            raise ValueError(
                f"run.feature_cache: there is no folder {self.config.feature_cache}. Name the one that training filled "
                "(feature_cache of its datasets), or leave it out to encode the images."
            )
        return FeatureCache(self.config.feature_cache, encoder_fingerprint(self.model))

    @cached_property
    def sentence_encoder(self) -> SentenceEncoder | None:
        """The encoder that captions are compared by, where the config asks for it."""
        if self.config.alignment == "likelihood":
            return None
        return SentenceEncoder(self.config.similarity_weights).to(self.device)

    @cached_property
    def recipe_root(self) -> Path:
        """Folder of the stages that differ from one reduced set of the run to another."""
        return self.root / self.config.name

    def stage(self, name: str, config: dict, inputs: dict[str, str]) -> Stage:
        return Stage(self.root if name in SHARED_STAGES else self.recipe_root, name, config, inputs)

    def my_parts(self, stage: Stage) -> list[Part]:
        """The unfinished parts that fall to this process; to be asked by all processes together."""
        # One look for all: meanwhile another process may have finished a part.
        pending = set(from_rank_zero(stage.pending(self.part_names)))
        unfinished = [part for part in self.parts.source.parts if part.name in pending]
        return unfinished[get_rank() :: get_world_size()]

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Inference, in bfloat16 where the config says so."""
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.bf16),
        ):
            yield

    def load_part(self, stage: Stage, part_name: str, columns: list[str]) -> pa.Table:
        """Columns of one part of a stage."""
        return pq.read_table(stage.part_path(part_name), columns=columns)

    def load(self, stage: Stage, columns: list[str]) -> pa.Table:
        """Columns of all parts of a stage, in the order of the parts."""
        return pa.concat_tables([self.load_part(stage, name, columns) for name in self.part_names])


def run_parts(
    context: Context, stage: Stage, parts: list[Part], table_of: Callable[[Part], pa.Table]
) -> tuple[dict[str, int], float]:
    """Write this process's parts, and wait for the others'.

    Args:
        context: The run.
        stage: The stage, open.
        parts: This process's (`Context.my_parts`).
        table_of: Makes a part's table; rows whose column ``error`` is not empty count as failed.

    Returns:
        On the first process, counts over all parts, whichever process or earlier run made them, and the seconds that
        they took; empty and 0 on the others.
    """
    started = time.monotonic()
    for part in tqdm(parts, desc=stage.name, unit="part", disable=not is_main_process()):
        part_started = time.monotonic()
        table = table_of(part)
        counts = {"read": table.num_rows}
        if "error" in table.column_names:
            failed = pc.sum(pc.not_equal(table["error"], "")).as_py() or 0
            counts |= {"written": table.num_rows - failed, "failed": failed}
        # The note first: a part that is there always has one.
        stage.note_part(part.name, {**counts, "seconds": round(time.monotonic() - part_started, 3)})
        write_table(stage, f"{part.name}.parquet", table)
    barrier()
    if not is_main_process():
        return {}, 0.0
    if missing := stage.pending(context.part_names):
        raise ValueError(
            f"{stage.folder} lacks {len(missing)} parts (first: {missing[0]}); run the same command again."
        )
    noted = stage.notes()
    notes = [noted[name] for name in context.part_names]
    counts = {key: sum(note[key] for note in notes) for key in (notes[0] if notes else ()) if key != "seconds"}
    # After an interruption this call's time is only part of the story.
    seconds = max(time.monotonic() - started, sum(note["seconds"] for note in notes) / get_world_size())
    return counts, seconds


def finish_on_first(stage: Stage, counts: dict, seconds: float) -> None:
    """Mark a stage as done, once every process has written its parts."""
    barrier()
    if is_main_process():
        stage.finish(counts, seconds)
        logging.info("%s: %s in %.1f s", stage.name, counts, seconds)
    barrier()


def write_table(stage: Stage, file_name: str, table: pa.Table) -> None:
    """A Parquet file, whole or not at all."""
    with stage.write(file_name) as path:
        pq.write_table(table, path, compression="zstd")
