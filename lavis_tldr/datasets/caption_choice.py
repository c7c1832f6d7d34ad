"""Which of a pair's captions is trained on."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lavis_tldr.reduction.draw import draw_one
from lavis_tldr.reduction.refinement import DRAWN

_BOTH = ("caption_original", "caption_generated")
# Choice -> the fields of an annotation that it takes its caption from, one of them at an epoch.
CHOICES = {
    "refined": ("caption",),
    "original": ("caption_original",),
    "generated": ("caption_generated",),
    "drawn": _BOTH,
}


class CaptionChoice:
    """Chooses the caption of a record of a reduced set.

    Where a record has two to choose from, one is drawn at every epoch, by the record's key, the epoch and the seed, and
    for each copy of a repeated record anew: neither worker nor rank has a part in it, and a resumed run goes on with
    the captions that it would have had.

    The epoch lies in memory that loader workers share, so those that live on from epoch to epoch learn of it, too.

    Args:
        choice: ``refined``, what the reduction made of the captions: one text, or, by its recipe drawn, one of the two
            at every epoch; ``original`` or ``generated`` alone; or ``drawn``, one of these two, whatever the recipe.
    """

    def __init__(self, choice: str = "refined"):
        self.choice = choice
        self._epoch_and_seed = torch.full((2,), -1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int, seed: int) -> None:
        """Say that an epoch begins."""
        self._epoch_and_seed.copy_(torch.tensor([epoch, seed]))

    def among(self, record: Mapping) -> list[str]:
        """The captions that a record's is chosen from; none where it has no such text."""
        is_drawn = self.choice == "refined" and record.get("caption_from") == DRAWN
        fields = _BOTH if is_drawn else CHOICES[self.choice]
        return [record[name] for name in fields if str(record.get(name) or "").strip()]

    def __call__(self, record: Mapping, copy: int = 0) -> str:
        """The record's caption in this epoch.

        Args:
            record: Of a reduced set.
            copy: Which copy of it is asked for, from 0, where a set repeats records.

        Raises:
            ValueError: If one is to be drawn and nobody has said which epoch it is.
        """
        captions = self.among(record)
        if len(captions) == 1:
            return captions[0]
        epoch, seed = self._epoch_and_seed.tolist()
        if epoch < 0:
            raise ValueError(
                "a caption is drawn anew at every epoch, and nobody has said which one this is: train with "
                "run.runner: runner_tldr (or runner_cpu), call dataset.set_epoch(epoch, seed) before each pass, or set "
                "datasets.tldr_reduced.caption to original or generated."
            )
        key = str(record.get("key", record["image"]))
        return captions[draw_one(f"{key}*{copy}" if copy else key, len(captions), epoch=epoch, seed=seed)]
