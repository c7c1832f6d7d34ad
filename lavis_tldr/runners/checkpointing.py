"""The part of the runner that saves and resumes."""

import logging
import os
import shutil
from pathlib import Path

import torch
from lavis.common.dist_utils import main_process

from lavis_tldr.runners import checkpoint as checkpoints

logger = logging.getLogger(__name__)


class CheckpointMixin:
    """For a LAVIS runner: atomic checkpoints, the last and the best, and a checked way back.

    The runner sets ``best_epoch``, ``best_agg_metrics`` and ``_best_path``, and calls
    :meth:`_remember_frozen` before the first step.
    """

    _frozen_at_start: dict[str, str]

    def _remember_frozen(self) -> None:
        """Note the frozen weights, to know at saving which of them changed all the same (moving averages)."""
        model = self.unwrap_dist_model(self.model)
        self._frozen_at_start = {
            name: checkpoints.parameters_digest(model, {name}) for name in checkpoints.frozen_names(model)
        }

    def _left_out_names(self, model: torch.nn.Module) -> set[str]:
        """The parameters that a checkpoint does without: frozen, and as they were when training began."""
        if self.config.run_cfg.get("save_frozen", False):
            return set()
        return {
            name
            for name in checkpoints.frozen_names(model)
            if checkpoints.parameters_digest(model, {name}) == self._frozen_at_start.get(name)
        }

    @main_process
    def _save_checkpoint(self, cur_epoch: int, is_best: bool = False, numbered: bool = True) -> None:
        model = self.unwrap_dist_model(self.model)
        left_out = self._left_out_names(model)
        content = {
            "model": {name: value for name, value in model.state_dict().items() if name not in left_out},
            "optimizer": self.optimizer.state_dict(),
            "config": self.config.to_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "epoch": self._last_whole_epoch(cur_epoch),
            "frozen_digest": checkpoints.parameters_digest(model, left_out),
            "best_epoch": self.best_epoch,
            "best_agg_metrics": self.best_agg_metrics,
            **self._state_besides(),
        }
        if is_best:
            checkpoints.save_checkpoint(content, self._best_path)
            return
        last = self.output_dir / "checkpoint_last.pth"
        checkpoints.save_checkpoint(content, last)
        if numbered and not self.valid_splits:
            copy = self.output_dir / f"checkpoint_{cur_epoch}.pth"
            copy.unlink(missing_ok=True)
            try:
                os.link(last, copy)  # one copy on disk while both names stand for it
            except OSError:
                shutil.copyfile(last, copy)
        logger.debug("Saved %s at epoch %d.", last, cur_epoch)

    def _last_whole_epoch(self, cur_epoch: int) -> int:
        """The last epoch that a training which goes on from here has behind it."""
        return cur_epoch

    def _state_besides(self) -> dict:
        """What a runner keeps in its checkpoints besides, in tensors and plain values."""
        return {}

    def _load_besides(self, saved: dict, source: str | Path) -> None:
        """Put back what :meth:`_state_besides` gave."""

    def _load_checkpoint(self, url_or_filename: str) -> None:
        saved = checkpoints.read_checkpoint(url_or_filename)
        self._load_weights(self.unwrap_dist_model(self.model), saved, url_or_filename)
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.scaler and saved.get("scaler"):
            self.scaler.load_state_dict(saved["scaler"])
        self.start_epoch = saved["epoch"] + 1
        self._load_besides(saved, url_or_filename)
        earlier_best = Path(url_or_filename).with_name("checkpoint_best.pth")
        if earlier_best.is_file():
            self._best_path = earlier_best
            self.best_epoch = saved.get("best_epoch", -1)
            self.best_agg_metrics = saved.get("best_agg_metrics", float("-inf"))
        logger.info("Resumed from %s after epoch %d.", url_or_filename, saved["epoch"])

    def _reload_best_model(self, model: torch.nn.Module) -> torch.nn.Module:
        if self._best_path.is_file():
            self._load_weights(model, checkpoints.read_checkpoint(self._best_path), self._best_path)
        else:
            logger.warning("There is no %s: evaluating the weights as they are.", self._best_path)
        return model

    @staticmethod
    def _load_weights(model: torch.nn.Module, saved: dict, source) -> None:
        lost = checkpoints.load_state(model, saved, source)
        if lost:
            logger.warning(
                "%s has no momentum weights (LAVIS leaves them out): they restart from the trained ones.",
                source,
            )
