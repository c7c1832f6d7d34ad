"""Results of a GPU, copied to the CPU while it goes on computing."""

import torch
from torch import Tensor

from lavis_tldr.models.image_encoding import ImageEncoding


class LateCopy:
    """Images' encodings on their way to the CPU: begun at once, waited for when they are asked for.

    Asked for after the next batch was begun, the wait is for this batch alone, and the GPU never stands idle.

    Args:
        images: On any device; on the CPU they are taken as they are.
    """

    def __init__(self, images: ImageEncoding):
        self._done = None
        if (device := images.codes.device).type == "cuda":
            images = ImageEncoding(_begun(images.codes), _begun(images.pooled))
            self._done = torch.cuda.current_stream(device).record_event()
        self._images = images

    def __call__(self) -> ImageEncoding:
        """The encodings, on the CPU."""
        if self._done is not None:
            self._done.synchronize()
        return self._images


def _begun(tensor: Tensor) -> Tensor:
    """A copy that will be whole once the GPU has come there; only pinned memory takes one without a wait."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
