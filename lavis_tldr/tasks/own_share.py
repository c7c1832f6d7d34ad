"""A process's share of an evaluation set, whatever loader the runner made."""

from torch.utils.data import DataLoader, default_collate

from lavis_tldr.runners.loaders import eval_loader


def own_share(data_loader: DataLoader, cuda: bool, batch_size: int = 1) -> DataLoader:
    """A loader of what falls to this process, each sample once among all.

    Whether a runner shares a set out, and pads the shares, is another's setting.

    Args:
        data_loader: The runner's.
        cuda: Whether the model is on a GPU.
        batch_size: Of the loader; 1, whatever ``batch_size_eval`` is, where a sample is many images.
    """
    return eval_loader(
        data_loader.dataset,
        batch_size=batch_size,
        num_workers=data_loader.num_workers,
        collate_fn=getattr(data_loader.dataset, "collater", None) or default_collate,
        cuda=cuda,
        split=True,
    )
