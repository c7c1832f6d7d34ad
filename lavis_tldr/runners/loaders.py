"""Data loaders for training and evaluation with or without CUDA and a process group."""

import torch
from lavis.common.dist_utils import get_rank, get_world_size
from lavis.datasets.datasets.dataloader_utils import PrefetchLoader
from torch.utils.data import Dataset, DistributedSampler

from lavis_tldr.datasets.unreadable import ListeningLoader, parts_of

_RANK_STRIDE = 1_000_003  # more than there are epochs, so that no two ranks and epochs share a seed


def train_loader(dataset: Dataset, *, batch_size: int, num_workers: int, collate_fn, cuda: bool, seed: int):
    """Loader of one epoch in random order, whole batches only.

    Every epoch's order depends on ``seed`` and the epoch alone (see :func:`start_epoch`), so a resumed run
    goes on with the order it would have had. What loader processes draw (augmentations, captions) depends on the
    rank as well.

    Raises:
        ValueError: If the set is too small for a single batch.
    """
    world_size = get_world_size()
    sampler = None
    if world_size > 1:
        sampler = DistributedSampler(dataset, num_replicas=world_size, rank=get_rank(), shuffle=True, seed=seed)
    share = len(dataset) if sampler is None else len(sampler)
    if share < batch_size:
        raise ValueError(
            f"The training set has {len(dataset)} samples, too few for a batch of {batch_size} in each "
            f"of {world_size} process(es). Lower run.batch_size_train to at most {share}, or check the path."
        )
    loader = ListeningLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        pin_memory=cuda,
        sampler=sampler,
        shuffle=sampler is None,
        collate_fn=collate_fn,
        drop_last=True,
        generator=torch.Generator().manual_seed(_own_seed(seed)),
    )
    return PrefetchLoader(loader) if cuda else loader


def start_epoch(loader, seed: int, epoch: int) -> None:
    """Put a loader made by :func:`train_loader` at the beginning of an epoch, and tell the sets that want to know."""
    loader.generator.manual_seed(_own_seed(seed + epoch))
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)
    for dataset in parts_of(loader.dataset):
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(epoch, seed)


def _own_seed(seed: int) -> int:
    """A seed of this rank: the first one's is the seed itself."""
    return seed + get_rank() * _RANK_STRIDE


def eval_loader(dataset: Dataset, *, batch_size: int, num_workers: int, collate_fn, cuda: bool, split: bool):
    """Loader of each sample once and in order; ``split`` shares the set out between the processes.

    Unlike DistributedSampler this pads nothing, so no sample is evaluated twice; one process may get a sample
    less than another.
    """
    loader = ListeningLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        pin_memory=cuda,
        sampler=range(get_rank(), len(dataset), get_world_size()) if split else None,
        collate_fn=collate_fn,
    )
    return PrefetchLoader(loader) if cuda else loader
