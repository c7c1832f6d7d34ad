"""Scores images against texts, every pair through the one-stream transformer.

Shapes: N images, M texts, P patches, D width.
"""

import torch
from lavis.common.dist_utils import get_rank, get_world_size
from torch import Tensor, nn

from lavis_tldr.models.collectives import all_reduce
from lavis_tldr.models.vilt.base import ViltModel
from lavis_tldr.models.vilt.checkpoint import Checkpoint
from lavis_tldr.models.vilt.network import init_weights
from lavis_tldr.progress import progress


class PairScorer(ViltModel):
    """A ViLT that says how well a text fits an image, by the match logit of image-text matching.

    ``rank_output`` starts from the row of ``itm_score.fc`` that says yes, after it was loaded (as the official code,
    whose two share storage).

    Args:
        sizes, tokenizer, freeze_layers, itc_width: See `ViltModel`; a contrastive head is there where the checkpoint
            has one.
        pairs_per_pass: Pairs read at once in evaluation.
    """

    def __init__(self, sizes, tokenizer, *, freeze_layers: int = 0, itc_width: int = 0, pairs_per_pass: int = 256):
        super().__init__(sizes, tokenizer, freeze_layers=freeze_layers, itc_width=itc_width)
        if pairs_per_pass < 1:
            raise ValueError(f"model.pairs_per_pass is {pairs_per_pass}; expected at least 1.")
        self.pairs_per_pass = pairs_per_pass
        self.rank_output = nn.Linear(sizes.width, 1)
        init_weights(self.rank_output, sizes.width)

    @classmethod
    def options(cls, config: dict, checkpoint: Checkpoint | None) -> dict:
        head = checkpoint and checkpoint.state.get("itc.image_proj.weight")
        return {**super().options(config, checkpoint), "itc_width": 0 if head is None else len(head)}

    def adapt_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        matching = {kind: state.get(f"itm_score.fc.{kind}") for kind in ("weight", "bias")}
        if None in matching.values() or "rank_output.weight" in state:
            return state
        return {**state, **{f"rank_output.{kind}": rows[1:2].clone() for kind, rows in matching.items()}}

    def score(self, ids: Tensor, text_mask: Tensor, image: Tensor, image_mask: Tensor | None) -> Tensor:
        """Score of each pair, (B,); arguments as `ViltNetwork` takes them."""
        _, pooled = self.vilt(ids, text_mask, image, image_mask)
        return self.rank_output(pooled)[:, 0]

    @torch.no_grad()
    def score_all(self, image: Tensor, image_mask: Tensor | None, texts: list[str], what: str = "") -> Tensor:
        """Scores of all images with all texts.

        The pairs go through in blocks; texts of about one length share one, so that little is padding.

        Args:
            image: From `embed_image`, on any device, (N, 1 + P, D).
            image_mask: From `embed_image`, (N, 1 + P), or None.
            texts: M texts.
            what: Named in progress; "" tells none.

        Returns:
            (N, M), float32.
        """
        scores = torch.empty(len(image), len(texts), device=self.device)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        blocks = [by_length[i : i + self.pairs_per_pass] for i in range(0, len(texts), self.pairs_per_pass)]
        passes = [
            (block, slice(first, first + per_pass))
            for block in blocks
            for per_pass in [max(1, self.pairs_per_pass // len(block))]
            for first in range(0, len(image), per_pass)
        ]
        tokenized = {block[0]: self.tokenize([texts[i] for i in block]) for block in blocks}
        for block, rows in progress(passes, what, "pass") if what else passes:
            ids, text_mask = tokenized[block[0]]
            tokens = image[rows].to(self.device)
            count = len(tokens)
            mask = None if image_mask is None else image_mask[rows].to(self.device).repeat_interleave(len(block), 0)
            pairs = tokens.repeat_interleave(len(block), 0)
            found = self.score(ids.repeat(count, 1), text_mask.repeat(count, 1), pairs, mask)
            scores[rows, block] = found.view(count, len(block)).float()
        return scores

    def score_all_ranks(self, image: Tensor, image_mask: Tensor | None, texts: list[str], what: str) -> Tensor:
        """`score_all` by all processes together, each of which has all images and texts; the same on each."""
        mine = slice(get_rank(), None, get_world_size())
        scores = torch.zeros(len(image), len(texts), device=self.device)
        scores[mine] = self.score_all(image[mine], image_mask if image_mask is None else image_mask[mine], texts, what)
        return all_reduce(scores)
