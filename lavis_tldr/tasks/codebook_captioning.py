"""The LAVIS task that trains and scores the codebook captioner."""

import logging
from pathlib import Path

import torch
from lavis.common.dist_utils import is_main_process
from lavis.common.registry import registry
from lavis.datasets.data_utils import prepare_sample
from lavis.tasks.base_task import BaseTask

from lavis_tldr.evaluation.caption_metrics import caption_metrics
from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.tasks.captioner_start import allow_tokens_of, ensure_vocabulary, quantize_cached, start_codebook
from lavis_tldr.tasks.feature_filling import fill_feature_cache

logger = logging.getLogger(__name__)

RUN_KEYS = ("vocab_size", "num_beams", "max_len", "min_len", "length_penalty")
_COLLAPSED = 0.02  # of K: a perplexity below this share means that a few codes stand for everything


@registry.register_task("codebook_captioning")
class CodebookCaptioningTask(BaseTask):
    """Trains ``codebook_captioner``; validates by CIDEr and BLEU-4 (``agg_metrics`` is CIDEr).

    Args:
        options: How validation captions are decoded.
    """

    def __init__(self, options: DecodingOptions):
        super().__init__()
        self.options = options
        self._datasets: dict = {}
        self._sums: dict[str, float] = {}
        self._num_steps = 0

    @classmethod
    def setup_task(cls, cfg) -> "CodebookCaptioningTask":
        run = cfg.run_cfg
        return cls(
            DecodingOptions(
                num_beams=int(run.get("num_beams", 1)),
                max_length=int(run.get("max_len", 30)),
                min_length=int(run.get("min_len", 3)),
                length_penalty=float(run.get("length_penalty", 1.0)),
            )
        )

    def build_datasets(self, cfg) -> dict:
        datasets = super().build_datasets(cfg)
        self._datasets = datasets.get("tldr_captions", {})
        if not self._datasets:
            raise ValueError(f"the task codebook_captioning trains on tldr_captions; found {sorted(datasets)}.")
        return datasets

    def build_model(self, cfg):
        run, train_set = cfg.run_cfg, self._datasets.get("train")
        device, seed = str(run.device), int(run.get("seed", 42))
        if train_set is not None:
            size = int(run.get("vocab_size", 3000))
            ensure_vocabulary(cfg.model_cfg, train_set, Path(run.output_dir), size, seed)
        model = super().build_model(cfg)
        num_workers = int(run.get("num_workers", 0))
        fill_feature_cache(model, self._datasets.values(), device, num_workers)
        if train_set is not None:
            allow_tokens_of(model, train_set)
            start_codebook(model, cfg.model_cfg, train_set, device, seed, num_workers)
        quantize_cached(model, self._datasets, device)
        # The runner wraps the model for its processes when it moves it to the device.
        return model.cpu()

    def train_step(self, model, samples) -> torch.Tensor:
        losses = model(samples)
        self._num_steps += 1
        for name in ("loss_lm", "loss_commitment"):
            self._sums[name] = self._sums.get(name, 0.0) + float(losses[name])
        if self._num_steps == 1 or self._num_steps % 50 == 0:
            self._log_codebook(model)
        return losses["loss"]

    def train_epoch(self, epoch, model, *args, **kwargs) -> dict:
        captioner = getattr(model, "module", model)
        self._sums, self._num_steps = {}, 0
        if captioner.quantizer is not None:
            captioner.quantizer.reset_usage()
        stats = super().train_epoch(epoch, model, *args, **kwargs)
        stats.update({name: f"{total / self._num_steps:.4f}" for name, total in self._sums.items()})
        return {**stats, **self._log_codebook(model)}

    def valid_step(self, model, samples) -> list[dict]:
        captions = model.generate(samples, self.options)
        rows = zip(samples["image_id"], captions, samples["references"], strict=True)
        return [{"image": key, "caption": caption, "references": list(refs)} for key, caption, refs in rows]

    @torch.no_grad()
    def evaluation(self, model, data_loader, cuda_enabled=True) -> list[dict]:
        if model.quantizer is not None:
            model.quantizer.reset_usage()
        results = []
        for samples in data_loader:
            samples = prepare_sample(samples, cuda_enabled=model.device.type == "cuda")
            # Encoded once, for codes and captions.
            if model.quantizer is None:
                samples["image_tokens"] = model.image_tokens(samples)
            else:
                samples["images"] = model.encode_images(samples)
                model.quantizer.count_use(samples["images"].codes)
            results += self.valid_step(model, samples)
        self._val_codebook = model.quantizer.usage_stats() if model.quantizer is not None else {}
        return results

    def after_evaluation(self, val_result, split_name, epoch) -> dict:
        path = self.save_result(
            val_result,
            registry.get_path("result_dir"),
            f"{split_name}_epoch{epoch}",
            remove_duplicate="image",
        )
        if not is_main_process():
            return {"agg_metrics": 0.0}
        import json

        rows = json.loads(Path(path).read_text())
        metrics = caption_metrics(
            {row["image"]: row["caption"] for row in rows}, {row["image"]: row["references"] for row in rows}
        )
        metrics.update({f"codebook_{name}": value for name, value in self._val_codebook.items()})
        logger.debug("%s epoch %s: %s", split_name, epoch, metrics)
        for row in rows[:4]:
            logger.debug("  %s: %s", row["image"], row["caption"])
        return {"agg_metrics": metrics["cider"], **metrics}

    def _log_codebook(self, model) -> dict:
        captioner = getattr(model, "module", model)
        if captioner.quantizer is None:
            return {}
        stats = captioner.quantizer.usage_stats()
        mean = {name: round(total / self._num_steps, 4) for name, total in self._sums.items()}
        logger.debug("codebook: perplexity %.0f, %d dead codes; %s", stats["perplexity"], stats["dead_codes"], mean)
        if stats["perplexity"] < _COLLAPSED * captioner.quantizer.num_codes:
            logger.warning(
                "The codebook has collapsed: perplexity %.1f of %d codes. Freeze the encoder (model.freeze_vit: True), "
                "start the codes from data (model.codebook_init: keywords or kmeans) and let them follow averages "
                "(model.code_decay: 0.99).",
                stats["perplexity"],
                captioner.quantizer.num_codes,
            )
        return stats
