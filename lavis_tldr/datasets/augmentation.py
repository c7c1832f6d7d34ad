"""The image processor of the paper's pretraining."""

from lavis.common.registry import registry
from lavis.processors.blip_processors import BlipImageTrainProcessor
from lavis.processors.randaugment import RandomAugment
from torchvision import transforms


@registry.register_processor("tldr_image_train")
class PretrainImageProcessor(BlipImageTrainProcessor):
    """Crop, flip and RandAugment "without color inversion" (paper, section 4.1): a PIL image to (3, H, W).

    LAVIS's ``blip_image_train`` takes ten of its fourteen operations, leaving out the colour ones; none of the fourteen
    inverts colours. Crops are of a fifth of the image at least, as in BLIP's own pretraining, not of half of it.

    Args:
        image_size: H = W, pixels.
        mean, std: Of the channels; LAVIS's by default.
        min_scale, max_scale: Share of the image that a crop takes.
    """

    def __init__(self, image_size=224, mean=None, std=None, min_scale=0.2, max_scale=1.0):
        super().__init__(image_size=image_size, mean=mean, std=std, min_scale=min_scale, max_scale=max_scale)
        steps = self.transform.transforms
        augment = RandomAugment(2, 5, isPIL=True)
        steps = [augment if isinstance(step, RandomAugment) else step for step in steps]
        self.transform = transforms.Compose(steps)

    @classmethod
    def from_config(cls, cfg=None):
        return super().from_config({"image_size": 224, "min_scale": 0.2, **(cfg or {})})
