from lavis.common.registry import registry
from lavis.processors.randaugment import RandomAugment, arg_dict
from omegaconf import OmegaConf
from PIL import Image
from torchvision.transforms import RandomResizedCrop


def processor(**changes):
    return registry.get_processor_class("tldr_image_train").from_config(OmegaConf.create(changes))


def step(found, kind):
    (step,) = [step for step in found.transform.transforms if isinstance(step, kind)]
    return step


def test_it_draws_among_all_operations_none_of_which_inverts_colours():
    augment = step(processor(), RandomAugment)
    assert set(augment.augs) == set(arg_dict) and len(arg_dict) == 14
    assert "Invert" not in augment.augs
    assert (augment.N, augment.M) == (2, 5)


def test_crops_are_as_in_the_original_pretraining_unless_told_otherwise():
    assert step(processor(), RandomResizedCrop).scale == (0.2, 1.0)
    assert step(processor(min_scale=0.9), RandomResizedCrop).scale == (0.9, 1.0)


def test_the_image_has_the_size_and_scale_asked_for():
    image = Image.new("RGB", (40, 30), (255, 255, 255))
    assert processor()(image).shape == (3, 224, 224)
    small = processor(image_size=128, mean=[0.5] * 3, std=[0.5] * 3)(image)
    assert small.shape == (3, 128, 128) and float(small.max()) <= 1.0
