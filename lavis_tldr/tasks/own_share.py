"""A process's share of an evaluation set, whatever loader the runner made."""

from torch.utils.data import DataLoader

from lavis_tldr.runners.loaders import eval_loader


def own_share(data_loader: DataLoader, cuda: bool) -> DataLoader:
    """A loader of what falls to this process, each sample once among all; one a batch, for a sample is many images.

    Whether a runner shares a set out, and pads the shares, is another's setting, and so is its ``batch_size_eval``.

    Args:
        data_loader: The runner's, of a set with a ``collater``.
        cuda: Whether the model is on a GPU.
    """
    return eval_loader(
        data_loader.dataset,
        batch_size=1,
        num_workers=data_loader.num_workers,
        collate_fn=data_loader.dataset.collater,
        cuda=cuda,
        split=True,
    )
