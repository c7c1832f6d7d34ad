"""``runner_tldr``: LAVIS's epoch runner for any device, alone or in a process group.

The stock RunnerBase needs CUDA and an initialised process group, writes relative output folders into
site-packages, and can be made only once per process. This one takes the same configs, and these keys under
``run`` besides:

    bf16: False                    train steps under bfloat16 autocast (CPU or CUDA; no gradient scaler)
    bf16_eval: False               evaluation under bfloat16 autocast
    save_frozen: False             keep frozen parameters that did not change in checkpoints, too
    find_unused_parameters: False  passed to DistributedDataParallel
    max_grad_norm: 0               clip gradients to this norm before each update; 0 does not
    matmul_precision: highest      of float32 products: high is TF32 on GPUs that have it, several times as fast
    patience: 0                    stop when no epoch was better than the best for so many; 0 does not
"""

import datetime
import inspect
import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import lavis.common.optims  # noqa: F401  (registers LAVIS's learning rate schedulers)
import torch
import torch.distributed as dist
from lavis.common.dist_utils import is_dist_avail_and_initialized, is_main_process
from lavis.common.registry import registry
from lavis.runners.runner_base import RunnerBase
from torch.nn.parallel import DistributedDataParallel

from lavis_tldr.datasets.unreadable import LIST, tell, unreadable_of
from lavis_tldr.models.collectives import from_all_ranks
from lavis_tldr.runners import loaders
from lavis_tldr.runners.checkpointing import CheckpointMixin
from lavis_tldr.runners.contexts import matmul_precision_of, meters_synchronized_on, train_steps_in_bf16
from lavis_tldr.runners.recording import RecordingMixin
from lavis_tldr.runners.training_record import TrainingRecord

logger = logging.getLogger(__name__)

RUN_KEYS = (
    "bf16",
    "bf16_eval",
    "save_frozen",
    "find_unused_parameters",
    "max_grad_norm",
    "matmul_precision",
    "patience",
)


@registry.register_runner("runner_tldr")
class RunnerTLDR(RecordingMixin, CheckpointMixin, RunnerBase):
    """Trains and evaluates by epochs: ``Runner(cfg=, job_id=, task=, model=, datasets=).train()``.

    Checkpoints in ``output_dir/job_id``: ``checkpoint_last.pth`` after every epoch, for resuming;
    ``checkpoint_best.pth`` by ``agg_metrics`` of the split ``val`` (or the first of ``valid_splits``);
    ``checkpoint_<epoch>.pth`` as LAVIS does where there is no validation split.
    """

    def __init__(self, cfg, task, model, datasets, job_id):
        super().__init__(cfg=cfg, task=task, model=model, datasets=datasets, job_id=job_id)
        self.best_epoch = -1
        self.best_agg_metrics = float("-inf")
        self._best_path = self.output_dir / "checkpoint_best.pth"
        self.record = TrainingRecord()
        self.tested: dict[str, dict | None] = {}  # what `train` measured at its end, by split
        self._check_config()

    def _check_config(self) -> None:
        run = self.config.run_cfg
        both = set(self.train_splits) & ({*self.valid_splits, *self.test_splits})
        if both and not self.evaluate_only:
            raise ValueError(
                f"Split {sorted(both)[0]!r} is in run.train_splits and in valid_splits or test_splits: it "
                "would be evaluated with training transforms. Use another run with evaluate: True."
            )
        if run.get("amp", False) and run.get("bf16", False):
            raise ValueError("run.amp (float16) and run.bf16 exclude each other: set one of them to False.")
        if run.get("amp", False) and not self.cuda_enabled:
            logger.warning("run.amp is float16 on CUDA and has no effect here; run.bf16: True works on a CPU.")

    # What differs from RunnerBase by device and process group

    @property
    def device(self) -> torch.device:
        if self._device is None:
            self._device = torch.device(self.config.run_cfg.get("device", "cuda"))
            if self._device.type == "cuda" and not torch.cuda.is_available():
                raise ValueError("run.device is cuda, but torch sees no CUDA device. Set run.runner: runner_cpu.")
        return self._device

    @property
    def use_distributed(self) -> bool:
        return bool(self.config.run_cfg.get("distributed", False)) and is_dist_avail_and_initialized()

    @property
    def evaluate_only(self) -> bool:
        return bool(self.config.run_cfg.get("evaluate", False))

    @property
    def model(self) -> torch.nn.Module:
        """The model on its device, wrapped for data parallel training where there is a process group."""
        if self._wrapped_model is None:
            self._model = self._model.to(self.device)
            trainable = any(p.requires_grad for p in self._model.parameters())
            if self.use_distributed and trainable:
                self._wrapped_model = DistributedDataParallel(self._model, **self._ddp_options())
            else:
                self._wrapped_model = self._model
        return self._wrapped_model

    def _ddp_options(self) -> dict:
        return {
            "device_ids": [self.config.run_cfg.gpu] if self.cuda_enabled else None,
            "find_unused_parameters": bool(self.config.run_cfg.get("find_unused_parameters", False)),
        }

    def unwrap_dist_model(self, model: torch.nn.Module) -> torch.nn.Module:
        return model.module if isinstance(model, DistributedDataParallel) else model

    @property
    def optimizer(self):
        if self._optimizer is None:
            optimizer = super().optimizer
            for group in optimizer.param_groups:
                group["fused"] = True  # one pass over the weights: on a CPU the update is bound by memory
            self._clip_gradients(optimizer)
        return self._optimizer

    def _clip_gradients(self, optimizer) -> None:
        """Let every update begin with clipping, where ``run.max_grad_norm`` asks for it."""
        max_norm = float(self.config.run_cfg.get("max_grad_norm", 0))
        if max_norm <= 0:
            return
        if self.scaler is not None:
            raise ValueError("run.max_grad_norm does not go with run.amp: use run.bf16, or set it to 0.")
        trained = [p for group in optimizer.param_groups for p in group["params"]]

        def clip(*_) -> None:
            torch.nn.utils.clip_grad_norm_(trained, max_norm)

        optimizer.register_step_pre_hook(clip)

    @property
    def scaler(self):
        return super().scaler if self.cuda_enabled else None

    @property
    def lr_scheduler(self):
        name = self.config.run_cfg.lr_sched
        if registry.get_lr_scheduler_class(name) is None:
            known = ", ".join(registry.list_lr_schedulers())
            raise ValueError(f"run.lr_sched {name!r} is not registered. Choose one of: {known}.")
        scheduler = super().lr_scheduler
        if hasattr(scheduler, "iters_per_epoch"):
            scheduler.iters_per_epoch = len(self.train_loader)
        return scheduler

    @property
    def seed(self) -> int:
        return int(self.config.run_cfg.get("seed", 0))

    def setup_output_dir(self) -> None:
        """Make ``output_dir/job_id``; a relative ``output_dir`` counts from the working directory."""
        self.output_dir = Path(self.config.run_cfg.output_dir).expanduser().absolute() / self.job_id
        self.result_dir = self.output_dir / "result"
        self.result_dir.mkdir(parents=True, exist_ok=True)
        # Not register_path: it refuses the second runner of a process.
        registry.mapping["paths"].update(output_dir=str(self.output_dir), result_dir=str(self.result_dir))

    def create_loaders(self, datasets, num_workers, batch_sizes, is_trains, collate_fns, dataset_ratios=None):
        if dataset_ratios is not None:
            raise ValueError("run.train_dataset_ratios needs endless sets: use run.runner: runner_iter, or drop it.")
        created = []
        for dataset, batch_size, is_train, collate_fn in zip(
            datasets, batch_sizes, is_trains, collate_fns, strict=True
        ):
            if not hasattr(dataset, "__len__") or isinstance(dataset, (tuple, list)):
                raise ValueError("A streamed set (webdataset pipeline) has no epochs: use run.runner: runner_iter.")
            common = {
                "batch_size": int(batch_size),
                "num_workers": int(num_workers),
                "collate_fn": collate_fn,
                "cuda": self.cuda_enabled,
            }
            if is_train and not self.evaluate_only:
                created.append(self._train_loader(dataset, **common))
            else:
                split = self.use_distributed and self.use_dist_eval_sampler
                created.append(loaders.eval_loader(dataset, split=split, **common))
        return created

    def _train_loader(self, dataset, **options):
        return loaders.train_loader(dataset, seed=self.seed, **options)

    # Training and evaluation

    def train(self) -> None:
        with matmul_precision_of(self.config.run_cfg):
            self._train()

    def _train(self) -> None:
        started = time.time()
        self.log_config()
        if self.evaluate_only:
            for split in self.valid_splits:
                metrics = self.eval_epoch(split_name=split, cur_epoch=0, skip_reload=True)
                self.log_stats(metrics, split)
                logger.info("%s: %s", split, _in_words(metrics))
        else:
            # Before resuming: frozen weights that come from the checkpoint must go into the next one.
            self._remember_frozen()
            self.record = self._start_record()
            if self.resume_ckpt_path is not None:
                self._load_checkpoint(self.resume_ckpt_path)
            for epoch in range(self.start_epoch, self.max_epoch):
                stats = self.train_epoch(epoch)
                self.log_stats(split_name="train", stats=stats)
                told = [_in_words(stats), *self._validate(epoch)]
                logger.info("epoch %d (last: %d): %s", epoch, self.max_epoch - 1, "; ".join(told))
                self._tell_unreadable()
                self._save_checkpoint(epoch)
                self._write_record()
                self._wait_for_all()
                if self._is_past_patience(epoch):
                    break
        self.tested = self.evaluate(
            # A run that only evaluates has no epochs; LAVIS's evaluate.py calls them "best", too.
            cur_epoch="best" if self.valid_splits or self.evaluate_only else self.max_epoch - 1,
            skip_reload=self.evaluate_only,
        )
        for split, metrics in self.tested.items():
            logger.info("%s: %s", split, _in_words(metrics))
        self._tell_unreadable()
        best = f", best epoch {self.best_epoch}" if self.best_epoch >= 0 else ""
        seconds = datetime.timedelta(seconds=int(time.time() - started))
        logger.info("done in %s%s: %s", seconds, best, self.output_dir)

    def train_epoch(self, epoch: int) -> dict:
        loaders.start_epoch(self.train_loader, self.seed, epoch)
        with ExitStack() as stack:
            stack.enter_context(self.record.counting(len(self.train_loader)))
            stack.enter_context(meters_synchronized_on(self.device))
            if self.config.run_cfg.get("bf16", False):
                stack.enter_context(train_steps_in_bf16(self.task, self.device.type))
            return super().train_epoch(epoch)

    def _validate(self, epoch: int) -> list[str]:
        """Evaluate the validation splits and keep the weights if they are the best so far; the figures in words."""
        told, started = [], time.monotonic()
        deciding = "val" if "val" in self.valid_splits else next(iter(self.valid_splits), None)
        for split in self.valid_splits:
            metrics = self.eval_epoch(split_name=split, cur_epoch=epoch)
            agg_metrics = self._from_main_process(metrics.get("agg_metrics") if metrics else None)
            if split == deciding:
                if agg_metrics is None:
                    raise ValueError(
                        f"{type(self.task).__name__} has no 'agg_metrics' for split {split!r}, so no best "
                        "checkpoint can be chosen. Use a task that evaluates, or set run.valid_splits: []."
                    )
                if agg_metrics > self.best_agg_metrics:
                    self.best_epoch, self.best_agg_metrics = epoch, float(agg_metrics)
                    self._best_path = self.output_dir / "checkpoint_best.pth"
                    self._save_checkpoint(epoch, is_best=True)
            if metrics is not None:
                self.log_stats({**metrics, "epoch": epoch, "best_epoch": self.best_epoch}, split)
                told.append(f"{split} {_in_words(metrics)}".rstrip())
        self.record.seconds["evaluation"] += time.monotonic() - started
        return told

    def _is_past_patience(self, epoch: int) -> bool:
        """Whether the best epoch lies ``run.patience`` epochs back."""
        patience = int(self.config.run_cfg.get("patience", 0))
        if not patience or self.best_epoch < 0 or epoch - self.best_epoch < patience:
            return False
        told = "stopped early: no epoch since %d was better (run.patience %d, run.max_epoch %d)"
        logger.info(told, self.best_epoch, patience, self.max_epoch)
        return True

    def evaluate(self, cur_epoch="best", skip_reload: bool = False) -> dict:
        """Evaluate the test splits, with the best checkpoint's weights unless ``skip_reload``."""
        self._wait_for_all()
        return {
            split: self.eval_epoch(split_name=split, cur_epoch=cur_epoch, skip_reload=skip_reload)
            for split in self.test_splits
        }

    @torch.no_grad()
    def eval_epoch(self, split_name: str, cur_epoch, skip_reload: bool = False) -> dict | None:
        if split_name not in self.dataloaders:
            raise ValueError(
                f"run names the split {split_name!r}, but the datasets have: {', '.join(self.dataloaders)}."
            )
        model = self.unwrap_dist_model(self.model)
        if cur_epoch == "best" and not skip_reload:
            model = self._reload_best_model(model)
        model.eval()
        self.task.before_evaluation(model=model, dataset=self.datasets[split_name])
        options = {}
        # Some of LAVIS's tasks have their own evaluation() without this option.
        if "cuda_enabled" in inspect.signature(self.task.evaluation).parameters:
            options["cuda_enabled"] = self.cuda_enabled
        bf16 = bool(self.config.run_cfg.get("bf16_eval", False))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            results = self.task.evaluation(model, self.dataloaders[split_name], **options)
        if results is None:
            return None
        return self.task.after_evaluation(val_result=results, split_name=split_name, epoch=cur_epoch)

    # Small helpers

    def _tell_unreadable(self) -> None:
        """List what images could not be read since this was last called, in any process, and say how many there are."""
        sets = [images for dataset in self.datasets.values() for images in unreadable_of(dataset)]
        found = from_all_ranks({key: why for images in sets for key, why in images.take_untold().items()})
        if is_main_process():
            all_found = {key: why for part in found for key, why in part.items()}
            tell(all_found, sum(images.num_images for images in sets), self.output_dir / LIST)

    def _wait_for_all(self) -> None:
        if is_dist_avail_and_initialized():
            dist.barrier()

    def _from_main_process(self, value):
        """The main process's value, in all processes."""
        if not is_dist_avail_and_initialized():
            return value
        box = [value if is_main_process() else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def _in_words(figures: Mapping | None) -> str:
    """``{"loss": "1.446", "cider": 0.548022}`` as ``loss 1.446, cider 0.548``; of a task without figures nothing."""
    told = []
    for name, value in (figures or {}).items():
        if name != "agg_metrics":
            told.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(told)
