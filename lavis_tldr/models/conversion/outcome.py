"""What a conversion is asked for, and what it gives."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wishes:
    """What the model will be built with, where that is not its packaged default.

    Attributes:
        image_size: Of its images, in pixels; None: as in pretraining.
        queue_size: Of `blip_retrieval`; None: as in pretraining.
        model_type: Of the stock model; None: its first.
        settings: Further "key=value" of its ``model`` section, such as ``embed_dim=128``.
    """

    image_size: int | None = None
    queue_size: int | None = None
    model_type: str | None = None
    settings: Sequence[str] = ()


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Attributes:
        content: What to save.
        copied: Names of weights taken over as they were, or with positions for another image size.
        made: Names that the checkpoint did not have.
        dropped: Names that the model has no place for.
        new: Names of the model that stay out and start random.
    """

    content: dict
    copied: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What was done, by module, a line each."""
        told = {
            "copied": self.copied,
            "made": self.made,
            "dropped": self.dropped,
            "new in the model, random until trained": self.new,
        }
        return [f"{what}: {by_module(names)}" for what, names in told.items()]


def by_module(names: Iterable[str]) -> str:
    """Names counted by their first part: ``3 text_proj, 150 visual_encoder``; "none" without any."""
    counts = Counter(name.split(".")[0] for name in names)
    return ", ".join(f"{count} {module}" for module, count in sorted(counts.items())) or "none"
