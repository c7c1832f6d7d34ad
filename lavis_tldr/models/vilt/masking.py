"""Masks whole words for masked language modelling (ViLT, arXiv:2102.03334, sec. 3.2 and 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

IGNORED = -100  # target of a token that is not to be told
_MASKED, _REPLACED = 0.8, 0.1  # of the chosen pieces; the rest stays as it is (BERT, arXiv:1810.04805, sec. 3.1)


class WordMasker(nn.Module):
    """Chooses words of captions and hides them, all pieces of a word together.

    Of a caption's words round(share x number) are chosen, at least one. Differs from the official code, whose masking
    had padding among the candidates, so that a short caption might have no word masked. Draws come from torch's global
    generators.

    Args:
        vocabulary: WordPieces in the order of their ids, BERT's special tokens among them.
        share: Of the words, chosen for masking.
    """

    def __init__(self, vocabulary: Sequence[str], share: float = 0.15):
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"model.mask_share is {share}; expected a share of the words, between 0 and 1.")
        self.share = share
        self.mask_id = vocabulary.index("[MASK]")
        special = {"[PAD]", "[CLS]", "[SEP]"}
        self.register_buffer("special", torch.tensor([p in special for p in vocabulary]), persistent=False)
        self.register_buffer("continues", torch.tensor([p.startswith("##") for p in vocabulary]), persistent=False)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Hide words of captions.

        Args:
            ids: WordPieces of captions, padded, (B, T).

        Returns:
            The captions with hidden words, and the targets: the chosen pieces' ids, else `IGNORED`; both (B, T).
        """
        chosen = self.choose(ids)
        targets = ids.masked_fill(~chosen, IGNORED)
        draw = torch.rand(ids.shape, device=ids.device)
        others = torch.randint(len(self.special), ids.shape, device=ids.device)
        hidden = ids.masked_fill(chosen & (draw < _MASKED), self.mask_id)
        replaced = chosen & (draw >= _MASKED) & (draw < _MASKED + _REPLACED)
        return torch.where(replaced, others, hidden), targets

    def choose(self, ids: Tensor) -> Tensor:
        """Which pieces belong to the chosen words, (B, T) -> (B, T) bool."""
        in_word = ~self.special[ids]
        word = (in_word & ~self.continues[ids]).cumsum(1) * in_word  # number of its word from 1, else 0
        num_words = word.amax(1, keepdim=True)
        slots = torch.arange(ids.shape[1], device=ids.device)  # a caption has at most as many words as pieces
        draw = torch.rand(ids.shape, device=ids.device).masked_fill(slots >= num_words, 2.0)
        rank = draw.argsort(1).argsort(1)
        num_chosen = (self.share * num_words).round().clamp(min=1)
        chosen_words = (rank < num_chosen) & (slots < num_words)
        return chosen_words.gather(1, (word - 1).clamp(min=0)) & (word > 0)
