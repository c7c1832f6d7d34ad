"""Batches of samples that can't be stacked: each is several images, or none."""


def as_list(samples: list[dict]) -> dict[str, list[dict]]:
    """``{"samples": samples}``; in a mapping, as LAVIS's loaders want a batch."""
    return {"samples": samples}
