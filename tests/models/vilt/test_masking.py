import pytest
import torch

from lavis_tldr.models.vilt.masking import IGNORED, WordMasker

# foot ##ball is one word of two pieces, new ##spa ##per one of three.
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "foot", "##ball", "new", "##spa", "##per", "plays"]


def ids_of(*captions: str) -> torch.Tensor:
    rows = [[WORDS.index(piece) for piece in caption.split()] for caption in captions]
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


CAPTIONS = ids_of("[CLS] a man plays foot ##ball [SEP]", "[CLS] new ##spa ##per [SEP]", "[CLS] a new ##spa ##per [SEP]")
# The place of each piece's word, 0 for none.
WORD_OF_PIECE = torch.tensor([[0, 1, 2, 3, 4, 4, 0], [0, 1, 1, 1, 0, 0, 0], [0, 1, 2, 2, 2, 0, 0]])


@pytest.mark.parametrize(("share", "chosen_words"), [(0.15, [1, 1, 1]), (0.5, [2, 1, 1]), (0.9, [4, 1, 2])])
def test_whole_words_are_chosen_and_nothing_else(share, chosen_words):
    masker = WordMasker(WORDS, share)
    seen = set()
    for seed in range(50):
        torch.manual_seed(seed)
        chosen = masker.choose(CAPTIONS)
        assert not chosen[WORD_OF_PIECE == 0].any()
        for row, words, count in zip(chosen, WORD_OF_PIECE, chosen_words, strict=True):
            taken = {int(word) for word in words[row]}
            assert len(taken) == count
            assert row.tolist() == [int(word) in taken for word in words]  # all pieces of a word, or none
        seen.add(tuple(chosen[0].tolist()))
    # Every word has its turn.
    assert torch.tensor(sorted(seen)).any(0).tolist() == [False, True, True, True, True, True, False]


def test_about_the_share_of_words_is_chosen():
    """20 words a caption: 15% are 3 of them, each word in 15% of captions."""
    ids = torch.tensor([[2, *[5] * 20, 3]] * 4000)
    torch.manual_seed(0)
    chosen = WordMasker(WORDS).choose(ids)
    assert chosen.sum(1).unique().tolist() == [3]
    # Standard deviation of a word's share: sqrt(.15 x .85 / 4000) = .0056
    assert (chosen.float().mean(0)[1:-1] - 0.15).abs().max() < 0.025


def test_hidden_replaced_and_kept():
    """Of the chosen pieces 80% are hidden, 10% replaced by any piece (itself 1 time in 13), 10% stay."""
    ids = torch.tensor([[2, *[5] * 20, 3]] * 4000)
    torch.manual_seed(0)
    hidden, targets = WordMasker(WORDS)(ids)
    chosen = targets != IGNORED
    assert (targets[chosen] == 5).all() and chosen.sum() == 12000
    assert torch.equal(hidden[~chosen], ids[~chosen])
    masked = (hidden[chosen] == 4).float().mean()
    kept = (hidden[chosen] == 5).float().mean()
    assert masked.item() == pytest.approx(0.8 + 0.1 / 13, abs=0.015)
    assert kept.item() == pytest.approx(0.1 + 0.1 / 13, abs=0.015)
    assert len(hidden[chosen].unique()) == len(WORDS)


def test_a_caption_without_a_word_has_nothing_hidden():
    ids = ids_of("[CLS] [SEP]", "[CLS] a [SEP]")
    hidden, targets = WordMasker(WORDS)(ids)
    assert targets.tolist() == [[IGNORED] * 3, [IGNORED, WORDS.index("a"), IGNORED]]
    assert torch.equal(hidden[0], ids[0])


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_share_must_be_one(share):
    with pytest.raises(ValueError, match="model.mask_share"):
        WordMasker(WORDS, share)
