"""The part of the runner that keeps account of what a training saw and took."""

from __future__ import annotations

from pathlib import Path

from lavis.common.dist_utils import get_world_size, is_main_process

from lavis_tldr.runners.training_record import TrainingRecord, device_name


class RecordingMixin:
    """For a LAVIS runner, which starts ``record`` by :meth:`_start_record` before its first step."""

    record: TrainingRecord

    def _start_record(self) -> TrainingRecord:
        run, model = self.config.run_cfg, self.config.to_dict().get("model", {})
        return TrainingRecord(
            task=str(run.get("task", "")),
            arch=str(model.get("arch", "")),
            model_type=str(model.get("model_type", "")),
            num_pairs=self._num_pairs(),
            device=device_name(self.device),
            num_processes=get_world_size(),
            precision="bfloat16" if run.get("bf16", False) else "float16" if self.scaler else "float32",
            batch_size=self._samples_per_update(),
        )

    def _num_pairs(self) -> int:
        if "train" not in self.dataloaders:
            raise ValueError(
                f"No dataset has a split 'train' (found: {', '.join(self.dataloaders) or 'none'}). "
                "Name a training set under datasets, or set run.evaluate: True."
            )
        return len(self.datasets["train"])

    def _samples_per_update(self) -> int:
        return int(self.config.run_cfg.batch_size_train) * get_world_size()

    def _write_record(self) -> None:
        if is_main_process():
            self.record.write(self.output_dir)

    def _state_besides(self) -> dict:
        return {"progress": self.record.progress()}

    def _load_besides(self, saved: dict, source: str | Path) -> None:
        if "progress" in saved:  # LAVIS's own checkpoints don't tell
            self.record.go_on_from(saved["progress"])
