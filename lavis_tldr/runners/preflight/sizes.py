"""Sizes that do not go together: batch, queue, set, epoch, image. A check gives what is wrong and what to do, or None.

"Pairs at once" are those of a forward pass in all processes: accumulated micro-batches count one by one.
"""

BY_EPOCH = ("linear_warmup_step_lr", "linear_warmup_cosine_lr")  # LAVIS's own schedules
_LEAST_MOMENTUM_SPANS = 20  # of a training
_A_TRAINING = 100  # updates; less is a trial, of which nothing is expected
_LARGEST_SHARE_OF_SET = 4  # a queue may have 1 / this


def queue_fault(queue_size: int, batch_size: int, num_processes: int, *, takes_any: bool = False) -> str | None:
    """Why LAVIS's queue would stop the first step.

    Args:
        queue_size: Of the model.
        batch_size: Of each process.
        num_processes: That train together.
        takes_any: The model's queue need be no multiple of the pairs at once.
    """
    at_once = batch_size * num_processes
    if queue_size >= at_once and (takes_any or queue_size % at_once == 0):
        return None
    below, above = queue_size // at_once * at_once, -(-queue_size // at_once) * at_once
    queues = sorted({size for size in (below, max(above, at_once)) if size})
    fitting = [
        b for b in range(1, queue_size // num_processes + 1) if takes_any or queue_size % (b * num_processes) == 0
    ]
    smaller, larger = [b for b in fitting if 1 < b < batch_size], [b for b in fitting if b > batch_size]
    batches = [*smaller[-1:], *larger[:1]]
    relation = "less than" if queue_size < at_once else "no multiple of"
    return (
        f"model.queue_size {queue_size} is {relation} the {at_once} pairs at once (run.batch_size_train {batch_size} x "
        f"{num_processes} processes): the first step would fail. Set model.queue_size to {_either(queues)}"
        + (f", or run.batch_size_train to {_either(batches)}." if batches else ".")
    )


def queue_warning(queue_size: int, set_size: int, at_once: int) -> str | None:
    """A queue so large that a pair meets earlier copies of itself in it, as negatives."""
    largest = set_size // _LARGEST_SHARE_OF_SET
    if queue_size <= largest:
        return None
    fitting = max(largest // at_once, 1) * at_once
    return (
        f"model.queue_size {queue_size} is more than a quarter of the set's {set_size} pairs: pairs meet their own "
        f"earlier features there as negatives (it holds {queue_size / set_size:.2g} times the set). Lower it to "
        f"{fitting}."
    )


def momentum_warning(momentum: float, num_updates: int) -> str | None:
    """Momentum encoders that are still where they began when the training ends.

    BLIP contrasts each encoder with the other's slow copy alone. Where the copies hardly move, images learn to find the
    texts of the start and texts the images of the start, and the two never meet.
    """
    follows = 1 / (1 - momentum) if momentum < 1 else float("inf")
    if num_updates < _A_TRAINING or follows * _LEAST_MOMENTUM_SPANS <= num_updates:
        return None
    fitting = 1 - _LEAST_MOMENTUM_SPANS / num_updates
    return (
        f"model.momentum {momentum:g} follows over {follows:.0f} updates, and the training has {num_updates}: contrast "
        f"learns little from encoders that hardly move. Train longer, or set model.momentum to {fitting:.2g} or less, "
        "with a queue of a few batches."
    )


def batch_fault(batch_size: int) -> str | None:
    """Hard negatives come from the process's own batch."""
    if batch_size > 1:
        return None
    return "run.batch_size_train is 1: there is no other pair to draw a negative from. Set it to 2 at least."


def warmup_warning(warmup_steps: int, steps_an_epoch: int, schedule: str) -> str | None:
    """A warm-up that LAVIS's schedules cut off."""
    if schedule not in BY_EPOCH or not 0 < steps_an_epoch < warmup_steps:
        return None
    return (
        f"run.warmup_steps is {warmup_steps}, but LAVIS warms up within the first epoch alone, which has "
        f"{steps_an_epoch} steps here: the rate will jump at epoch 1. Lower warmup_steps to at most {steps_an_epoch}, "
        "or use run.lr_sched: linear_warmup_cosine_steps."
    )


def image_size_fault(dataset: str, split: str, of_processor: int, of_model: int) -> str | None:
    """Images of which the ViT has no positions."""
    if of_processor == of_model:
        return None
    return (
        f"datasets.{dataset}.vis_processor.{split}.image_size is {of_processor}, the image tower's {of_model}: set "
        f"that to {of_model}, or model.image_size to {of_processor}."
    )


def _either(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))
