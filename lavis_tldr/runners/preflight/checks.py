"""All checks of a run whose model and datasets are built."""

import logging
from collections.abc import Iterator

from lavis.common.dist_utils import get_world_size, is_main_process
from lavis.models.base_model import MomentumDistilationMixin, SharedQueueMixin

from lavis_tldr.runners.preflight import sizes
from lavis_tldr.runners.preflight.captions import captions_of, count_tokens, cut_warning

logger = logging.getLogger(__name__)

_LONGEST = ("max_txt_len", "max_text_length")  # LAVIS's name, and ours


def check_parts(cfg, model, datasets: dict[str, dict]) -> None:
    """Warn of what spoils a training, and refuse what would stop it.

    Args:
        cfg: The run's LAVIS config.
        model: That will be trained, on any device.
        datasets: By name and split.

    Raises:
        ValueError: With all that is wrong. A run that only evaluates, or trains no set, has nothing to check.
    """
    run = cfg.run_cfg
    if run.get("evaluate", False) or not run.get("train_splits"):
        return
    trained = {
        name: split for name, splits in datasets.items() for kind, split in splits.items() if kind in run.train_splits
    }
    faults = [fault for fault in _faults(cfg, model, trained) if fault]
    if faults:
        raise ValueError("the run can't start: " + " ".join(faults))
    if is_main_process():
        for warning in _warnings(cfg, model, trained):
            if warning:
                logger.warning("%s", warning)


def _faults(cfg, model, trained: dict) -> Iterator[str | None]:
    batch_size, num_processes = int(cfg.run_cfg.batch_size_train), get_world_size()
    if isinstance(model, SharedQueueMixin):
        takes_any = type(model)._dequeue_and_enqueue is not SharedQueueMixin._dequeue_and_enqueue
        yield sizes.queue_fault(int(model.queue_size), batch_size, num_processes, takes_any=takes_any)
    if hasattr(model, "itm_head"):
        yield sizes.batch_fault(batch_size)
    of_model = _image_size(model)
    for name in trained:
        settings = cfg.datasets_cfg[name]
        split = "eval" if settings.get("feature_cache") else "train"  # cached features are of unaugmented images
        of_processor = (settings.get("vis_processor") or {}).get(split, {}).get("image_size")
        if of_model and of_processor:
            yield sizes.image_size_fault(name, split, int(of_processor), of_model)


def _warnings(cfg, model, trained: dict) -> Iterator[str | None]:
    run = cfg.run_cfg
    at_once = int(run.batch_size_train) * get_world_size()
    lengths = [len(dataset) for dataset in trained.values() if hasattr(dataset, "__len__")]
    set_size = sum(lengths) if len(lengths) == len(trained) else 0  # of a stream nobody knows
    if set_size and isinstance(model, SharedQueueMixin):
        yield sizes.queue_warning(int(model.queue_size), set_size, at_once)
    steps = int(run.get("iters_per_inner_epoch", 0)) or set_size // at_once
    if isinstance(model, MomentumDistilationMixin) and hasattr(model, "momentum"):  # BlipNLVR has none
        yield sizes.momentum_warning(float(model.momentum), _num_updates(run, steps, at_once))
    yield sizes.warmup_warning(int(run.get("warmup_steps", 0)), steps, str(run.get("lr_sched")))
    key = next((key for key in _LONGEST if isinstance(getattr(model, key, None), int)), None)
    if key is None or not hasattr(model, "tokenizer"):
        return
    for name, dataset in trained.items():
        captions = list(captions_of(dataset, str(cfg.datasets_cfg[name].get("caption") or "refined")))
        counted = count_tokens(model.tokenizer, captions) if captions else []
        warning = cut_warning(counted, getattr(model, key), key)
        yield warning and f"datasets.{name}: {warning}"


def _num_updates(run, steps_an_epoch: int, at_once: int) -> int:
    """Of the whole training; 0 where the run does not say."""
    accumulated = int(run.get("accum_grad_iters", 1))
    by_samples = int(run.get("max_samples") or 0) // (at_once * accumulated)
    by_epochs = int(run.get("max_epoch") or 0) * steps_an_epoch // accumulated
    return int(run.get("max_steps") or 0) or by_samples or by_epochs


def _image_size(model) -> int | None:
    """Side of the images that a ViT takes; None of a model without one, or one that takes any size."""
    patches = getattr(getattr(model, "visual_encoder", None), "patch_embed", None)
    size = getattr(patches, "img_size", None)
    return int(size[0]) if size is not None else None
