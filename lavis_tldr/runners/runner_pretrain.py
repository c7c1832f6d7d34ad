"""``runner_pretrain``: trains by optimizer steps, and goes on from any of them as if it had never stopped.

Takes the configs of `RunnerTLDR`, and these keys under ``run`` besides:

    max_steps: 0            updates in all, whatever an epoch has; 0: run.max_epoch epochs
    max_samples: 0          the same in pairs seen; one of the two at most
    global_batch_size: 0    pairs an update over all processes, in place of batch_size_train; 0: as that says
    save_every_steps: 0     checkpoint_last.pth after so many updates, too; 0: after epochs alone
    resume_ckpt_path: auto  goes on from the job's own checkpoint_last.pth, or starts where there is none
    num_decays: 0           decays of linear_warmup_decay_steps over the training; 0: one an epoch, 20 with max_steps
    ramp_steps: 0           updates over which BLIP's and ALBEF's alpha rises; 0: two epochs, as in LAVIS
    tensorboard: False      event files beside training.csv

One step is one update: run.batch_size_train x processes x run.accum_grad_iters pairs. The loss of accumulated
micro-batches is their mean, schedules and warm-up count updates, and what does not fill an update is left out of an
epoch.
"""

from __future__ import annotations

import inspect
import logging
import math
import time

import torch
import torch.distributed as dist
from lavis.common.dist_utils import get_rank, get_world_size, is_main_process
from lavis.common.registry import registry
from lavis.datasets.data_utils import prepare_sample
from lavis.datasets.datasets.dataloader_utils import PrefetchLoader
from torch.nn.parallel import DistributedDataParallel

from lavis_tldr.datasets.unreadable import ListeningLoader
from lavis_tldr.models.collectives import barrier
from lavis_tldr.runners import training_record
from lavis_tldr.runners.batch_sizes import share_global_batch
from lavis_tldr.runners.epoch_order import EpochOrder, SeededSamples
from lavis_tldr.runners.generator_states import generator_states, restore_generators
from lavis_tldr.runners.runner_tldr import RunnerTLDR
from lavis_tldr.runners.running_means import RunningMeans
from lavis_tldr.runners.training_log import TrainingLog
from lavis_tldr.runners.training_record import TrainingRecord
from lavis_tldr.runners.updates import Figures, Updater
from lavis_tldr.runs.manifest import changes, normalise

logger = logging.getLogger(__name__)

RUN_KEYS = (
    "max_steps",
    "max_samples",
    "global_batch_size",
    "save_every_steps",
    "num_decays",
    "ramp_steps",
    "tensorboard",
)
_DECAYS = 20  # the paper's epochs
# Settings under `run` that a training may go on with changed: how long, where, and what is told.
_FREE = {"max_epoch", "max_steps", "max_samples", "num_workers", "log_freq", "save_every_steps", "tensorboard"} | {
    *("device", "distributed", "world_size", "rank", "gpu", "dist_url", "dist_backend", "output_dir", "job_id"),
    *("resume_ckpt_path", "valid_splits", "test_splits", "batch_size_eval", "evaluate", "runner", "cache_root"),
}


@registry.register_runner("runner_pretrain")
class RunnerPretrain(RunnerTLDR):
    """Trains any task whose ``train_step`` gives a loss; ``tldr_pretrain`` has its parts logged, too."""

    def __init__(self, cfg, task, model, datasets, job_id):
        super().__init__(cfg=cfg, task=task, model=model, datasets=datasets, job_id=job_id)
        self._order: EpochOrder | None = None
        self._samples: SeededSamples | None = None
        self._first_update = 0  # where training goes on, in the epoch that it is in; 0: at the next one's beginning
        self._states: list[dict] = []
        self._log: TrainingLog | None = None
        self._updater: Updater | None = None

    def _check_config(self) -> None:
        super()._check_config()
        run = self.config.run_cfg
        if run.get("max_steps", 0) and run.get("max_samples", 0):
            raise ValueError("run.max_steps and run.max_samples both say how long to train: set one of them.")
        share_global_batch(run)

    # How long

    @property
    def updates_per_epoch(self) -> int:
        self.dataloaders  # noqa: B018  (made on first use)
        return self._order.num_batches // self.accum_grad_iters

    @property
    def num_updates(self) -> int:
        """Updates of the whole training."""
        run = self.config.run_cfg
        if steps := int(run.get("max_steps", 0)):
            return steps
        if samples := int(run.get("max_samples", 0)):
            return max(samples // self._samples_per_update(), 1)
        return int(run.max_epoch) * self.updates_per_epoch

    @property
    def max_epoch(self) -> int:
        return math.ceil(self.num_updates / self.updates_per_epoch)

    @property
    def _by_epochs(self) -> bool:
        run = self.config.run_cfg
        return not (run.get("max_steps", 0) or run.get("max_samples", 0))

    def _samples_per_update(self) -> int:
        return super()._samples_per_update() * self.accum_grad_iters

    @property
    def lr_scheduler(self):
        scheduler = super().lr_scheduler
        if hasattr(scheduler, "iters_per_epoch"):
            scheduler.iters_per_epoch, scheduler.num_steps = self.updates_per_epoch, self.num_updates
        if hasattr(scheduler, "num_decays"):
            scheduler.num_decays = int(self.config.run_cfg.get("num_decays", 0)) or (0 if self._by_epochs else _DECAYS)
        return scheduler

    # Parts

    def _train_loader(self, dataset, *, batch_size: int, num_workers: int, collate_fn, cuda: bool):
        self._order = EpochOrder(
            len(dataset),
            batch_size,
            rank=get_rank(),
            world_size=get_world_size(),
            seed=self.seed,
            per_update=self.accum_grad_iters,
        )
        self._samples = SeededSamples(dataset, self.seed)
        loader = ListeningLoader(
            self._samples,
            batch_sampler=self._order,
            num_workers=num_workers,
            pin_memory=cuda,
            collate_fn=collate_fn,
            generator=torch.Generator(),  # else starting the loader draws from the model's random numbers
        )
        return PrefetchLoader(loader) if cuda else loader

    def _ddp_options(self) -> dict:
        # Buffers (BLIP's queues: 113 MiB) need not go round at every step: each process makes the same of them.
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # before torch 2.14
        return {**super()._ddp_options(), name: False}

    @property
    def model(self) -> torch.nn.Module:
        if self._wrapped_model is None and isinstance(super().model, DistributedDataParallel):
            # Queues start as noise, by rank; DDP makes parameters equal and, without broadcast_buffers, nothing else.
            for buffer in self._model.buffers():
                dist.broadcast(buffer, 0)
        return super().model

    def _clip_gradients(self, optimizer) -> None:
        """The updater does it."""

    def _make_updater(self) -> Updater:
        run = self.config.run_cfg
        precision = torch.bfloat16 if run.get("bf16", False) else torch.float16 if self.scaler else None
        return Updater(
            self.task,
            self.model,
            self.optimizer,
            scaler=self.scaler,
            precision=precision,
            max_grad_norm=float(run.get("max_grad_norm", 0)),
        )

    # Training

    def train(self) -> None:
        super().train()
        if self._log is not None:
            self._log.close()

    def _start_record(self) -> TrainingRecord:
        record = super()._start_record()
        repeats = self.num_updates * self._samples_per_update() / record.num_pairs
        logger.info(
            "%s updates of %s pairs over a set of %s: each is seen %.1f times",
            f"{self.num_updates:,}",
            f"{self._samples_per_update():,}",
            f"{record.num_pairs:,}",
            repeats,
        )
        if repeats > training_record.MANY_REPEATS and not self._by_epochs:
            logger.warning(
                "Each pair will be seen %.0f times. Beyond about %.0f a pair teaches little more: a larger share of "
                "the source would pay (`lavis-tldr advise RUN --samples-seen %d`).",
                repeats,
                training_record.MANY_REPEATS,
                self.num_updates * self._samples_per_update(),
            )
        return record

    def train_epoch(self, epoch: int) -> dict:
        self._updater = self._updater or self._make_updater()
        if self._log is None and is_main_process():
            board = bool(self.config.run_cfg.get("tensorboard", False))
            self._log = TrainingLog(self.output_dir, self.record.updates, self.num_updates, board)
        first = self._first_update
        self._order.start(epoch, first * self.accum_grad_iters)
        self._samples.start(epoch)
        self.model.train()
        batches = iter(self.train_loader)
        means = RunningMeans()
        for update in range(first, self.updates_per_epoch):
            if self.record.updates == self.num_updates:
                break
            figures = self._update(epoch, update, batches)
            means.add(figures, float(self.optimizer.param_groups[0]["lr"]))
            if self.record.updates % self.log_freq == 0 or self.record.updates == self.num_updates:
                self._tell(means.take())
            self._first_update = (update + 1) % self.updates_per_epoch
            every = int(self.config.run_cfg.get("save_every_steps", 0))
            if every and self.record.updates % every == 0 and self._first_update:
                self._save_checkpoint(epoch, numbered=False)
        return {name: f"{value:.4g}" for name, value in means.of_epoch().items()}

    def _update(self, epoch: int, update: int, batches) -> Figures:
        started = time.monotonic()
        micro_batches = [next(batches) for _ in range(self.accum_grad_iters)]
        waited = time.monotonic() - started
        place = self._place(epoch, update)
        micro_batches = [{**prepare_sample(b, cuda_enabled=self.cuda_enabled), **place} for b in micro_batches]
        self.lr_scheduler.step(cur_epoch=epoch, cur_step=update)
        figures = self._updater(micro_batches)
        self.record.saw(self._samples_per_update(), time.monotonic() - started, waited)
        return figures

    def _place(self, epoch: int, update: int) -> dict:
        """Where training is, as models of LAVIS want to know: alpha rises over the first two "epochs"."""
        ramp = int(self.config.run_cfg.get("ramp_steps", 0))
        if not ramp:
            return {"epoch": epoch, "iters": update, "num_iters_per_epoch": self.updates_per_epoch}
        return {"epoch": 0, "iters": self.record.updates, "num_iters_per_epoch": ramp / 2}

    def _tell(self, means: dict[str, float]) -> None:
        if not math.isfinite(means.get("loss", 0.0)):
            raise ValueError(
                f"The loss is {means['loss']} near update {self.record.updates:,}. Lower run.init_lr, lengthen "
                "run.warmup_steps, set run.max_grad_norm (such as 1.0), or use run.bf16 instead of run.amp; then go on "
                "from an earlier checkpoint (run.resume_ckpt_path)."
            )
        if self._log is not None:
            seconds = max(self.record.seconds["train"], 1e-9)
            self._log.add(
                {
                    "updates": self.record.updates,
                    "samples_seen": self.record.samples_seen,
                    **means,
                    "samples_per_second": self.record.samples_seen / seconds,
                    "data_wait": self.record.seconds["data"] / seconds,
                }
            )

    # Saving and going on

    def _save_checkpoint(self, cur_epoch: int, is_best: bool = False, numbered: bool = True) -> None:
        self._states = generator_states()
        super()._save_checkpoint(cur_epoch, is_best=is_best, numbered=numbered)
        self._write_record()

    def _last_whole_epoch(self, cur_epoch: int) -> int:
        return cur_epoch - 1 if self._first_update else cur_epoch

    def _state_besides(self) -> dict:
        return {**super()._state_besides(), "first_update": self._first_update, "generators": self._states}

    @property
    def resume_ckpt_path(self):
        given = super().resume_ckpt_path
        if given != "auto":
            return given
        barrier()  # the folder is rank 0's to make
        last = self.output_dir / "checkpoint_last.pth"
        return str(last) if last.is_file() else None

    def _load_besides(self, saved: dict, source) -> None:
        if "first_update" not in saved:
            raise ValueError(
                f"{source} was not saved by run.runner runner_pretrain: it does not say where it stopped. "
                "Start from its weights instead (model.load_pretrained: True, model.pretrained: PATH)."
            )
        if super().resume_ckpt_path == "auto":
            self._check_same_training(saved["config"], source)
        self._first_update = int(saved["first_update"])
        super()._load_besides(saved, source)
        if len(saved["generators"]) == get_world_size():
            restore_generators(saved["generators"])
        else:
            logger.warning(
                "%s was saved by %d processes, this run has %d: dropout and the like draw other numbers than an "
                "undisturbed run would.",
                source,
                len(saved["generators"]),
                get_world_size(),
            )

    def _check_same_training(self, before: dict, source) -> None:
        """Refuse to go on with other settings than the training began with, unasked."""
        own = self.config.to_dict()
        told = []
        for section in ("model", "datasets", "run"):
            old, new = (normalise(dict(config.get(section, {}))) for config in (before, own))
            told += [
                f"{section}.{line}" for line in changes(old, new) if line.split(":")[0] not in _FREE or section != "run"
            ]
        if told:
            raise ValueError(
                f"{source} was trained with other settings: {'; '.join(told)}. Set them back, begin anew with another "
                "run.job_id, or name the checkpoint under run.resume_ckpt_path to go on with what is changed."
            )
