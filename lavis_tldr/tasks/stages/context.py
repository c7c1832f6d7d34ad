"""What every stage of a reduction is given."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lavis.common.dist_utils import get_rank, get_world_size, is_main_process
from omegaconf import DictConfig

from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.source_parts import SourceParts
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.tasks.captioner_start import barrier, encoder_fingerprint
from lavis_tldr.tasks.reduce_config import ReduceConfig

# Stages whose outcome does not depend on the recipe: several reduced sets of one run share them.
SHARED = ("encode", "cluster", "score")


@dataclass
class Context:
    """The run of one reduction.

    Attributes:
        root: The run folder.
        config: Settings under ``run``.
        parts: The source and its image processor.
        model: The trained captioner.
        model_digest: Digest of its weights.
        device: Where the model runs.
        model_cfg: The ``model`` section that the captioner was built from.
    """

    root: Path
    config: ReduceConfig
    parts: SourceParts
    model: CodebookCaptioner
    model_digest: str
    device: str
    model_cfg: DictConfig
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def part_names(self) -> list[str]:
        return [part.name for part in self.parts.source.parts]

    @cached_property
    def cached_features(self) -> FeatureCache | None:
        """Patch features that training has computed with the same encoder, where the config names them."""
        if not self.config.feature_cache:
            return None
        return FeatureCache(self.config.feature_cache, encoder_fingerprint(self.model, self.model_cfg))

    @cached_property
    def recipe_root(self) -> Path:
        """Folder of the stages that differ from one reduced set of the run to another."""
        return self.root / self.config.name

    def stage(self, name: str, config: dict, inputs: dict[str, str]) -> Stage:
        return Stage(self.root if name in SHARED else self.recipe_root, name, config, inputs)

    def my_parts(self, stage: Stage) -> list[Part]:
        """The unfinished parts that fall to this process."""
        pending = set(stage.pending(self.part_names))
        mine = self.parts.source.parts[get_rank() :: get_world_size()]
        return [part for part in mine if part.name in pending]

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Inference, in bfloat16 where the config says so."""
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.bf16),
        ):
            yield

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started

    def load_part(self, stage: Stage, part_name: str, columns: list[str]) -> pa.Table:
        """Columns of one part of a stage."""
        return pq.read_table(stage.part_path(part_name), columns=columns)

    def load(self, stage: Stage, columns: list[str]) -> pa.Table:
        """Columns of all parts of a stage, in the order of the parts."""
        return pa.concat_tables([self.load_part(stage, name, columns) for name in self.part_names])


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
