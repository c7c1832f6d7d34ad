import math

import pytest
import torch

from lavis_tldr.models.vilt.masking import IGNORED
from lavis_tldr.models.vilt.objectives import draw_matches, matching_loss, word_loss


@pytest.mark.parametrize("num_pairs", [2, 3, 8, 9])
def test_half_match_and_the_others_never_have_their_own_text(num_pairs):
    ids = torch.arange(num_pairs)[:, None]
    placed, shifts = set(), set()
    for seed in range(60):
        torch.manual_seed(seed)
        rows, labels = draw_matches(ids)
        own = torch.arange(num_pairs)
        assert labels.sum() == num_pairs // 2
        assert torch.equal(rows == own, labels == 1)
        found = set(((rows - own) % num_pairs)[labels == 0].tolist())
        assert len(found) == 1  # one roll of the batch
        shifts |= found
        placed.add(tuple(labels.tolist()))
    assert shifts == set(range(1, num_pairs))
    assert torch.tensor(sorted(placed)).any(0).all()  # each place may match


def test_the_same_text_from_elsewhere_fits():
    ids = torch.tensor([[1, 2], [1, 2], [3, 4]])
    for seed in range(20):
        torch.manual_seed(seed)
        rows, labels = draw_matches(ids)
        assert labels.tolist() == [int(torch.equal(ids[row], ids[i])) for i, row in enumerate(rows)]


def test_a_single_pair_is_refused():
    with pytest.raises(ValueError, match="a single pair; use a batch of 2"):
        draw_matches(torch.tensor([[1]]))


def test_matching_loss_by_hand():
    # -log(e^1 / (e^1 + e^0)) twice and -log(1/2)
    loss, accuracy = matching_loss(torch.tensor([[1.0, 0], [0, 1], [2, 2]]), torch.tensor([0, 1, 1]))
    assert loss.item() == pytest.approx((2 * math.log(1 + math.exp(-1)) + math.log(2)) / 3)
    assert accuracy.item() == pytest.approx(2 / 3)


def test_word_loss_is_the_mean_over_hidden_pieces():
    text = torch.tensor([[[9.0, 9], [0, 1]], [[1, 0], [9, 9]]])
    targets = torch.tensor([[IGNORED, 1], [1, IGNORED]])
    loss, accuracy = word_loss(torch.nn.Identity(), text, targets)
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2)
    assert accuracy.item() == 0.5


def test_nothing_hidden_gives_no_nan():
    text = torch.ones(1, 2, 2, requires_grad=True)
    loss, accuracy = word_loss(torch.nn.Linear(2, 2), text, torch.full((1, 2), IGNORED))
    loss.backward()
    assert loss.item() == 0 and accuracy.item() == 0 and (text.grad == 0).all()
