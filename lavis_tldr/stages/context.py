"""What every stage of a reduction is given."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from lavis.common.dist_utils import get_world_size, is_main_process

from lavis_tldr.codebook.precision import inference
from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.image_features import encoder_fingerprint
from lavis_tldr.datasets.source_parts import SourceParts
from lavis_tldr.datasets.unreadable import LIST, UnreadableTally, tell
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.collectives import barrier, from_all_ranks, from_rank_zero, share
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.progress import progress
from lavis_tldr.runs.parts import read_part
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import SHARED_STAGES, STAGES, variants_of
from lavis_tldr.scoring.blip_matching import BlipMatching, load_blip
from lavis_tldr.sources import Part
from lavis_tldr.sources.embeddings import Embeddings, open_embeddings
from lavis_tldr.stages.reduce_config import ReduceConfig

logger = logging.getLogger(__name__)

_PATIENCE = 90  # seconds that a network file system may take to show another node's files


@dataclass(frozen=True)
class Given:
    """What decides a stage's outcome and the run's settings do not tell; its module's function ``given`` returns it.

    Attributes:
        settings: By name, as the table of stages has them.
        inputs: Digests by name, likewise.
        made_from: Stages besides those that the settings ask for.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    made_from: tuple[str, ...] = ()


def stage_module(name: str) -> ModuleType:
    """The module that runs a stage: ``run(context, stage)``, and ``given(context)`` where there is more to tell."""
    return import_module(f"lavis_tldr.stages.{name}")


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
        as_made: Stages taken as their manifests say they were made: a repair does not ask for the source again.
        ran: The stages that this call ran; the others were done before.
    """

    root: Path
    config: ReduceConfig
    parts: SourceParts
    model: CodebookCaptioner
    model_digest: str
    device: str
    trusted: CaptionPairs | None = None
    as_made: tuple[str, ...] = ()
    ran: list[str] = field(default_factory=list)
    _stages: dict[str, Stage] = field(default_factory=dict)

    @property
    def gpu(self) -> int | None:
        """Number of this process's GPU, for libraries other than torch; None on a CPU."""
        device = torch.device(self.device)
        if device.type != "cuda":
            return None
        return torch.cuda.current_device() if device.index is None else device.index

    @cached_property
    def parts_by_name(self) -> list[Part]:
        """The source's parts in order of name, so that the order in which the config lists files decides nothing."""
        return sorted(self.parts.source.parts, key=lambda part: part.name)

    @cached_property
    def part_names(self) -> list[str]:
        return [part.name for part in self.parts_by_name]

    @cached_property
    def cached_features(self) -> FeatureCache | None:
        """Features that training has computed with the same encoder, where the config names them."""
        if not self.config.feature_cache:
            return None
        if not Path(self.config.feature_cache).is_dir():
            raise ValueError(
                f"run.feature_cache: there is no folder {self.config.feature_cache}. Name the one that training filled "
                "(feature_cache of its datasets), or leave it out to encode the images."
            )
        return FeatureCache(self.config.feature_cache, encoder_fingerprint(self.model))

    @cached_property
    def sentence_encoder(self) -> SentenceEncoder:
        """The encoder that captions are compared by."""
        return SentenceEncoder(self.config.similarity_weights).to(self.device)

    @cached_property
    def blip(self) -> BlipMatching:
        """BLIP, that scores captions or embeds images."""
        return load_blip(self.config.blip_weights, self.config.blip_model_type)

    @cached_property
    def embeddings(self) -> Embeddings:
        """Embeddings of the source's pairs that the user has."""
        return open_embeddings(self.config.embeddings)

    @cached_property
    def unreadable(self) -> UnreadableTally:
        """The images that BLIP could not read any more."""
        return UnreadableTally("BLIP gives no value for it")

    @cached_property
    def set_root(self) -> Path:
        """Folder of the stages that differ from one reduced set of the run to another."""
        return self.root / self.config.name

    def stage(self, name: str) -> Stage:
        """A stage with what decides its outcome: settings, and digests of its inputs.

        Raises:
            ValueError: If a stage that it is made from is not finished.
        """
        if name not in self._stages:
            root, variant = self.root_of(name), self.variants.get(name, "")
            made = name in self.as_made
            stage = Stage.as_made(root, name, variant) if made else Stage(root, name, *self._made_from(name), variant)
            self._stages[name] = stage
        return self._stages[name]

    def _made_from(self, name: str) -> tuple[dict, dict[str, str]]:
        """Settings of a stage and digests of its inputs, as the table of stages and its own module say."""
        spec, module = STAGES[name], stage_module(name)
        given = module.given(self) if hasattr(module, "given") else Given()
        links = {before: self.stage(before).digest for before in (*spec.links_of(self.config), *given.made_from)}
        return spec.settings_of(self.config, given.settings), {**links, **given.inputs}

    def closed_stage(self, name: str) -> Stage:
        """A stage by its folder alone, to delete or to look at, whatever it was made from."""
        return Stage(self.root_of(name), name, {}, {}, self.variants.get(name, ""))

    def root_of(self, stage_name: str) -> Path:
        """The folder that a stage's folder lies in."""
        return self.root if stage_name in SHARED_STAGES else self.set_root

    @property
    def variants(self) -> dict[str, str]:
        """Which variant of the shared stages this reduced set uses, by stage."""
        return variants_of(self.config)

    def forget_stages(self) -> None:
        """After a stage was restarted: those after it have other inputs."""
        self._stages.clear()

    def my_parts(self, stage: Stage) -> list[Part]:
        """The unfinished parts that fall to this process; to be asked by all processes together."""
        return share_missing(self.parts_by_name, lambda part: stage.part_path(part.name))

    def autocast(self) -> AbstractContextManager[None]:
        """Inference, in bfloat16 where the config says so, else in all of float32."""
        return inference(torch.device(self.device).type, bf16=self.config.bf16)

    def load_part(self, stage: Stage, part_name: str, columns: list[str]) -> pa.Table:
        """Columns of one part of a stage."""
        return read_part(stage.part_path(part_name), STAGES[stage.name], columns)

    def load_parts(self, stage: Stage, columns: list[str]) -> Iterator[pa.Table]:
        """Columns of all parts of a stage, one part at a time in order of name."""
        return (self.load_part(stage, name, columns) for name in self.part_names)


def share_missing(items: list, path_of: Callable[[Any], Path]) -> list:
    """Those of the items without their file that fall to this process; to be asked by all processes together."""
    # One look for all: meanwhile another process may have made one.
    return share(from_rank_zero(lambda: [item for item in items if not path_of(item).is_file()]))


def run_parts(
    context: Context,
    stage: Stage,
    parts: list[Part],
    tables: Iterable[pa.Table],
    write: Callable[[pa.Table, Path], None] | None = None,
) -> tuple[dict[str, int], float]:
    """Write this process's parts, and wait for the others'.

    Args:
        context: The run.
        stage: The stage, open.
        parts: This process's (`Context.my_parts`).
        tables: The table of each of them, in their order; rows whose column ``error`` is not empty count as failed.
        write: How a table is written to a path; Parquet if None.

    Returns:
        On the first process, counts over all parts, whichever process or earlier run made them, and the seconds that
        they took; empty and 0 on the others.

    Raises:
        ValueError: If parts are missing when every process has come to its end.
    """
    started = part_started = time.monotonic()
    for part, table in zip(progress(parts, stage.name, "part"), tables, strict=True):
        counts = {"read": table.num_rows}
        if "error" in table.column_names:
            failed = pc.sum(pc.not_equal(table["error"], "")).as_py() or 0
            counts |= {"written": table.num_rows - failed, "failed": failed}
        seconds = round(time.monotonic() - part_started, 3)
        stage.write_part(part.name, partial(write or write_table, table), {**counts, "seconds": seconds})
        part_started = time.monotonic()
    unreadable = from_all_ranks(context.unreadable.take_untold())
    barrier()
    if not is_main_process():
        return {}, 0.0
    if missing := _pending(context, stage):
        raise ValueError(
            f"{stage.folder} lacks {len(missing)} parts (first: {missing[0]}); run the same command again."
        )
    noted = stage.notes()
    notes = [noted[name] for name in context.part_names]
    counts = {name: sum(note[name] for note in notes) for name in ("read", "written", "failed") if name in notes[0]}
    tell({key: why for found in unreadable for key, why in found.items()}, counts["read"], context.root / LIST)
    # After an interruption this call's time is only part of the story.
    seconds = max(time.monotonic() - started, sum(note["seconds"] for note in notes) / get_world_size())
    return counts, seconds


def _pending(context: Context, stage: Stage) -> list[str]:
    """The parts that are not there though every process is done."""
    patience = time.monotonic() + (_PATIENCE if get_world_size() > 1 else 0)
    while missing := stage.pending(context.part_names):
        if time.monotonic() > patience:
            break
        time.sleep(1)
    return missing


def make_once(stage: Stage, file_name: str, make: Callable[[], Callable[[Path], None]]) -> Path:
    """A file of a stage that all parts of all its runs go by, such as what was fitted.

    Args:
        stage: The stage, open.
        file_name: Of the file.
        make: Makes what is in it, and gives what writes that to a path; called by the first process alone, where the
            file is not there yet.

    Returns:
        Its path, once it is there.
    """
    path = stage.folder / file_name
    if is_main_process() and not path.is_file():
        write = make()
        with stage.write(file_name) as temporary:
            write(temporary)
    barrier()
    return path


def finish_on_first(stage: Stage, counts: dict, seconds: float) -> None:
    """Mark a stage as done, once every process has written its parts."""
    barrier()
    if is_main_process():
        stage.finish(counts, seconds)
        logger.debug("%s: %s in %.1f s", stage.name, counts, seconds)
    barrier()


def write_table(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")
