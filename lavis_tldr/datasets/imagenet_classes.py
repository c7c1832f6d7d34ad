"""The 1,000 classes of ImageNet-1k and which of them its relatives have.

A class's number is the place of its wnid among the sorted 1,000, by which classifiers' outputs and lists of names go.
(``ILSVRC2012_ID`` of the devkit is another order.) Index lists of ImageNet-A and -R: their authors' evaluation code.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lavis.datasets.builders.imagefolder_builder import imagenet_classnames

from lavis_tldr.user_errors import closest

_FOLDER = Path(__file__).parent.parent / "configs" / "imagenet"
SETS = ("imagenet", "imagenet_a", "imagenet_r")


@dataclass(frozen=True)
class ImagenetClasses:
    """Classes of a set.

    Attributes:
        numbers: Of each class among the 1,000, ascending.
        names: OpenAI's, in words; "missile" and "sunglasses" stand for two classes each.
        wnids: Names of the folders.
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    wnids: tuple[str, ...]


@cache
def all_wnids() -> tuple[str, ...]:
    """Of the 1,000 classes, sorted."""
    return tuple(_lines("wnids"))


@cache
def classes_of(name: str) -> ImagenetClasses:
    """The classes of a set.

    Args:
        name: One of `SETS`.

    Raises:
        ValueError: If it is none of them.
    """
    if name not in SETS:
        raise ValueError(
            f"datasets.tldr_zero_shot.set is {name!r}; expected {', '.join(SETS[:-1])} or {SETS[-1]}"
            f"{closest(name, SETS)}."
        )
    numbers = tuple(range(1000)) if name == "imagenet" else tuple(map(int, _lines(name)))
    names, wnids = (tuple(every[number] for number in numbers) for every in (imagenet_classnames, all_wnids()))
    return ImagenetClasses(numbers, names, wnids)


def _lines(name: str) -> list[str]:
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").split()
