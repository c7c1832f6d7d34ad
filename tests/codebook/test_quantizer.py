import math

import pytest
import torch

from lavis_tldr.codebook.quantizer import VectorQuantizer, codebook_perplexity, nearest_code


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_codes(codes, **options) -> VectorQuantizer:
    codes = torch.tensor(codes)
    quantizer = VectorQuantizer(len(codes), codes.shape[1], **options)
    quantizer.set_codes(codes)
    return quantizer


def test_nearest_code_by_hand():
    codebook = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    x = torch.tensor([[[3.0, 1.0], [1.0, 2.5]]])
    # squared distances: [10, 2, 18] and [7.25, 15.25, 3.25]
    assert nearest_code(x, codebook).tolist() == [[1, 2]]


def test_lower_index_wins_a_tie():
    codebook = torch.tensor([[5.0, 5.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0]])  # as far from code 1 as from code 2; codes 1 and 3 are the same
    assert nearest_code(x, codebook).tolist() == [1, 1]


def test_nearest_code_agrees_with_all_distances():
    x, codebook = drawn(2, 7, 5), drawn(11, 5, seed=1)
    distances = (x[:, :, None, :] - codebook).pow(2).sum(-1)
    assert torch.equal(nearest_code(x, codebook), distances.argmin(-1))


def test_other_width_is_refused():
    with pytest.raises(ValueError, match="3 wide but the codes are 2 wide"):
        nearest_code(torch.zeros(1, 3), torch.zeros(4, 2))


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"code_dim": 3}, {"code_dim": 3, "normalize": True}])
@pytest.mark.parametrize("decay", [None, 0.99])
def test_forward_decodes_what_it_encodes(options, decay):
    quantizer = VectorQuantizer(9, 6, decay=decay, **options).eval()
    features = drawn(2, 5, 6)
    quantized = quantizer(features)
    assert torch.equal(quantized.codes, quantizer.encode(features))
    torch.testing.assert_close(quantized.features, quantizer.decode(quantized.codes))
    assert quantized.features.shape == (2, 5, 6)


def test_code_dim_compares_projected_features():
    quantizer = VectorQuantizer(8, 6, code_dim=2)
    assert quantizer.codebook.shape == (8, 2)
    assert quantizer.lookup_space(drawn(1, 3, 6)).shape == (1, 3, 2)


def test_normalize_compares_by_cosine():
    codes = [[30.0, 0.0], [0.0, 1.0]]
    x = torch.tensor([[[8.0, 3.0]]])  # nearer to the second by L2 (68 against 493), to the first by angle
    assert with_codes(codes, normalize=False).encode(x).item() == 1
    quantizer = with_codes(codes, normalize=True)
    assert quantizer.encode(x).item() == 0
    assert torch.equal(quantizer.codebook, torch.eye(2))


def test_straight_through_gradient_is_the_identity():
    quantizer = VectorQuantizer(6, 4)
    features = drawn(2, 3, 4).requires_grad_()
    upstream = drawn(2, 3, 4, seed=1)
    quantizer(features).features.backward(upstream)
    assert torch.equal(features.grad, upstream)


def test_symmetric_commitment_loss_by_hand():
    quantizer = with_codes([[0.0, 0.0], [4.0, 0.0]], decay=None, beta=0.25)
    x = torch.tensor([[[3.0, 1.0], [0.0, 2.0]]], requires_grad=True)
    # differences (-1, 1) and (0, 2): mean of squares (1 + 1 + 0 + 4) / 4 = 1.5, pulled by beta and by 1
    loss = quantizer(x).commitment_loss
    assert loss.item() == pytest.approx(1.5 * 1.25)
    loss.backward()
    # d/dx of 0.25 * mean: 0.25 * 2 (x - e) / 4; d/de of mean: 2 (e - x) / 4
    torch.testing.assert_close(x.grad, torch.tensor([[[-0.125, 0.125], [0.0, 0.25]]]))
    torch.testing.assert_close(quantizer.codebook.grad, torch.tensor([[0.0, -1.0], [0.5, -0.5]]))


def test_with_averages_only_features_are_pulled():
    quantizer = with_codes([[0.0, 0.0], [4.0, 0.0]], decay=0.99, beta=0.25).eval()
    loss = quantizer(torch.tensor([[[3.0, 1.0], [0.0, 2.0]]])).commitment_loss
    assert loss.item() == pytest.approx(1.5 * 0.25)


def test_averages_by_hand():
    quantizer = with_codes([[0.0], [10.0]], decay=0.75, revive_below=0.0)
    quantizer(torch.tensor([[[1.0], [2.0], [3.0], [8.0]]]))
    # Shares start at 1/2 each and sums at (0, 5). The batch has shares (3/4, 1/4) and sums (6, 8) / 4 = (1.5, 2), and
    # a quarter of the new average.
    torch.testing.assert_close(quantizer.average_count, torch.tensor([0.5625, 0.4375]))
    torch.testing.assert_close(quantizer.average_sum, torch.tensor([[0.375], [4.25]]))
    torch.testing.assert_close(quantizer.codebook, torch.tensor([[0.375 / 0.5625], [4.25 / 0.4375]]))


def test_codes_stand_still_in_evaluation():
    quantizer = VectorQuantizer(5, 3)
    before = quantizer.codebook.clone()
    quantizer.eval()(drawn(1, 8, 3))
    assert torch.equal(quantizer.codebook, before)
    quantizer.train()(drawn(1, 8, 3))
    assert not torch.equal(quantizer.codebook, before)


def test_dead_codes_restart_at_features_of_the_batch():
    quantizer = with_codes([[0.0], [100.0], [200.0]], decay=0.5, revive_below=0.4)
    features = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    quantizer(features)  # the shares of codes 1 and 2 fall to 1/6, which is more than 0.4 / 3
    torch.testing.assert_close(quantizer.codebook[1:], torch.tensor([[100.0], [200.0]]))
    quantizer(features)  # and to 1/12, which is less
    assert quantizer.codebook[1:].flatten().tolist() == [1.0, 4.0]
    torch.testing.assert_close(quantizer.average_count[1:], torch.full((2,), 1 / 3))
    torch.testing.assert_close(quantizer.average_sum[1:], torch.tensor([[1.0], [4.0]]) / 3)


def test_more_dead_codes_than_features():
    quantizer = VectorQuantizer(50, 3, decay=0.1, revive_below=0.9)
    features = drawn(1, 4, 3)
    for _ in range(3):
        quantizer(features)
    assert quantizer.codebook.isfinite().all()
    assert torch.equal(quantizer.encode(features).unique(), quantizer.encode(features).sort().values.flatten())


def test_perplexity_by_hand():
    assert codebook_perplexity(torch.tensor([5, 5, 5, 5])) == pytest.approx(4.0)
    assert codebook_perplexity(torch.tensor([9, 0, 0])) == pytest.approx(1.0)
    # entropy of (1/2, 1/4, 1/4): 1.5 bits
    assert codebook_perplexity(torch.tensor([2, 1, 1])) == pytest.approx(2**1.5)
    assert math.isfinite(codebook_perplexity(torch.tensor([0, 0])))


def test_usage_is_counted_until_reset():
    quantizer = with_codes([[0.0], [10.0], [20.0], [30.0]]).eval()
    quantizer(torch.tensor([[[0.0], [1.0]]]))
    quantizer(torch.tensor([[[9.0], [11.0]]]))
    stats = quantizer.usage_stats()
    assert stats == {"perplexity": pytest.approx(2.0), "dead_codes": 2}
    quantizer.reset_usage()
    assert quantizer.usage_stats()["dead_codes"] == 4
    quantizer.count_use(torch.tensor([[0, 1], [2, 3]]))
    assert quantizer.usage_stats() == {"perplexity": pytest.approx(4.0), "dead_codes": 0}


def test_two_processes_move_codes_as_one_with_both_batches():
    first, second = drawn(1, 6, 3), drawn(1, 6, 3, seed=1)
    start = drawn(4, 3, seed=2)

    def sums(features) -> list[torch.Tensor]:
        """What the other process contributes, in the order in which it is asked for."""
        codes = nearest_code(features, start).flatten()
        one_hot = torch.nn.functional.one_hot(codes, 4).float()
        return [one_hot.sum(0), one_hot.T @ features[0]]

    others = sums(second)
    alone = VectorQuantizer(4, 3, revive_below=0.0)
    shared = VectorQuantizer(4, 3, revive_below=0.0, all_reduce=lambda tensor: tensor + others.pop(0))
    for quantizer, features in ((alone, torch.cat([first, second])), (shared, first)):
        quantizer.set_codes(start)
        quantizer(features)
    torch.testing.assert_close(shared.codebook, alone.codebook)
    torch.testing.assert_close(shared.average_count, alone.average_count)


def test_usage_is_summed_over_processes():
    quantizer = VectorQuantizer(3, 2, all_reduce=lambda counts: counts + torch.tensor([0, 2, 0]))
    quantizer.count_use(torch.tensor([0, 0]))
    assert quantizer.usage_stats() == {"perplexity": pytest.approx(2.0), "dead_codes": 1}


def test_processes_revive_at_the_first_ones_features():
    theirs = torch.tensor([[7.0], [8.0]])
    quantizer = VectorQuantizer(3, 1, decay=0.5, revive_below=0.9, broadcast=lambda picks: theirs.clone())
    quantizer.set_codes(torch.tensor([[0.0], [100.0], [200.0]]))
    quantizer(torch.tensor([[[1.0], [2.0], [3.0]]]))
    assert quantizer.codebook[1:].tolist() == [[7.0], [8.0]]


@pytest.mark.parametrize("decay", [None, 0.9])
def test_codebook_is_saved_and_found_again(decay):
    quantizer = VectorQuantizer(5, 3, decay=decay)
    quantizer(drawn(1, 9, 3))
    # As LAVIS saves: parameters without a gradient are left out.
    still = {name for name, p in quantizer.named_parameters() if not p.requires_grad}
    state = {name: value for name, value in quantizer.state_dict().items() if name not in still}
    other = VectorQuantizer(5, 3, decay=decay)
    other.load_state_dict(state)
    assert torch.equal(other.codebook, quantizer.codebook)
    assert torch.equal(other.average_count, quantizer.average_count)


def test_codes_do_not_depend_on_autocast():
    quantizer = VectorQuantizer(64, 16).eval()
    features = drawn(2, 50, 16)
    wanted = quantizer.encode(features)
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(features)
    assert torch.equal(quantized.codes, wanted)
    assert quantized.commitment_loss.dtype == torch.float32


@pytest.mark.parametrize("options", [{}, {"code_dim": 4}, {"code_dim": 4, "normalize": True}, {"decay": None}])
def test_trains_under_bf16_autocast(options):
    quantizer = VectorQuantizer(8, 16, **options)
    features = drawn(2, 10, 16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(features.bfloat16())
        loss = quantized.features.float().pow(2).mean() + quantized.commitment_loss
    loss.backward()
    assert features.grad.isfinite().all()
    assert quantizer.codebook.dtype == torch.float32


@pytest.mark.parametrize("options", [{"num_codes": 1}, {"decay": 1.0}, {"decay": 0.0}])
def test_out_of_range_arguments(options):
    with pytest.raises(ValueError, match="num_codes is 1|decay is"):
        VectorQuantizer(**{"num_codes": 4, "dim": 2, **options})


def test_codes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\), expected \(4, 2\)"):
        VectorQuantizer(4, 2).set_codes(torch.zeros(3, 2))


def test_context_moves_patches_towards_their_image():
    quantizer = VectorQuantizer(2, 2, context_weight=2.0)
    quantizer.mean_feature.copy_(torch.tensor([1.0, 0.0]))
    # The image's mean is [2, 1], that of all images [1, 0]: each patch moves by 2 * [1, 1].
    features = torch.tensor([[[1.0, 0.0], [3.0, 2.0]]])
    assert quantizer.lookup_space(features).tolist() == [[[3.0, 2.0], [5.0, 4.0]]]


def test_context_tells_alike_patches_of_different_images_apart():
    # The same patch [0, 0] in an image about the left and one about the right.
    features = torch.tensor([[[0.0, 0.0], [-1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]])
    codes = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    plain, aware = VectorQuantizer(2, 2), VectorQuantizer(2, 2, context_weight=1.0)
    for quantizer in (plain, aware):
        quantizer.set_codes(codes)
    assert plain.encode(features)[:, 0].tolist() == [0, 0]  # a tie, told apart by nothing
    assert aware.encode(features)[:, 0].tolist() == [0, 1]


def test_offsets_go_to_the_decoder_and_leave_the_look_up_alone():
    quantizer = VectorQuantizer(2, 2, learn_offsets=True)
    quantizer.set_codes(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    features = torch.tensor([[[1.0, 0.0], [3.0, 0.0]]])
    with torch.no_grad():
        quantizer.offsets.copy_(torch.tensor([[0.0, 5.0], [0.0, -5.0]]))
    quantizer.eval()
    found = quantizer(features)
    assert found.codes.tolist() == [[0, 1]]
    assert found.features.tolist() == [[[0.0, 5.0], [4.0, -5.0]]]
    assert torch.equal(quantizer.decode(found.codes), found.features)
    # Features miss their codes by 1 in one of two dimensions: beta * 0.5, offsets or not.
    assert float(found.commitment_loss) == pytest.approx(0.25 * 0.5)
    found.features[0, 0].sum().backward()
    assert quantizer.offsets.grad.tolist() == [[1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize("decay", [0.5, None])
def test_frozen_codes_stay(decay):
    quantizer = VectorQuantizer(4, 2, decay=decay, frozen=True).train()
    before = quantizer.codebook.clone()
    quantizer(torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(quantizer.codebook, before)
    assert [name for name, p in quantizer.named_parameters() if p.requires_grad] == []
