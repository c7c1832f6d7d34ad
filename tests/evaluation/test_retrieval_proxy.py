import numpy as np
import pytest
import torch

from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions, retrieval_metrics, train_proxy

QUICK = ProxyOptions(num_steps=80, batch_size=32, learning_rate=1e-2, width=16)


def planted(n=200, seed=0):
    """Texts that are a linear map of their images, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 8, generator=generator)
    texts = images @ torch.randn(8, 6, generator=generator) + 0.1 * torch.randn(n, 6, generator=generator)
    return images, texts


def test_recall_by_hand():
    # Two images; captions 0 and 1 are of image 0, caption 2 of image 1.
    similarity = np.array([[0.9, 0.1, 0.5], [0.2, 0.3, 0.4]])
    found = retrieval_metrics(similarity, [0, 0, 1])
    # Image 0 finds caption 0 first. Image 1: caption 2 (0.4) is ahead of 0.2 and 0.3.
    assert found["tr_r1"] == 100.0
    # Caption 0 finds image 0 (0.9 > 0.2); caption 1 does not (0.1 < 0.3); caption 2 does not (0.4 < 0.5).
    assert found["ir_r1"] == pytest.approx(100 / 3)
    assert found["tr_r5"] == found["ir_r5"] == found["ir_r10"] == 100.0
    assert found["mean_recall"] == pytest.approx((100 + 100 / 3 + 4 * 100) / 6)


def test_recall_counts_ties_against_the_pair():
    # Nothing tells images or captions apart: no one is first, and with two of each all are among the first five.
    found = retrieval_metrics(np.zeros((2, 2)), [0, 1])
    assert found["tr_r1"] == found["ir_r1"] == 0.0
    assert found["tr_r5"] == 100.0


def test_recall_takes_an_images_best_caption():
    # Image 0's captions 0 and 1 stand behind caption 2 and ahead of it.
    similarity = np.array([[0.1, 0.8, 0.5], [0.0, 0.0, 0.9]])
    assert retrieval_metrics(similarity, [0, 0, 1])["tr_r1"] == 100.0


def test_proxy_learns_planted_pairs_and_follows_its_seed():
    images, texts = planted()
    model = train_proxy(images, texts, QUICK, seed=1)
    with torch.no_grad():
        similarity = (model.embed_images(images) @ model.embed_texts(texts).T).numpy()
    assert retrieval_metrics(similarity, list(range(len(images))))["ir_r10"] > 80  # chance is 5
    again = train_proxy(images, texts, QUICK, seed=1)
    other = train_proxy(images, texts, QUICK, seed=2)
    assert torch.equal(model.image_head.weight, again.image_head.weight)
    assert not torch.equal(model.image_head.weight, other.image_head.weight)


def test_proxy_leaves_the_global_generator_alone():
    images, texts = planted(64)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train_proxy(images, texts, QUICK, seed=1)
    assert torch.equal(torch.rand(3), wanted)


def test_too_few_pairs_say_what_to_lower():
    images, texts = planted(10)
    with pytest.raises(ValueError, match="don.t fill a batch of .*lower batch_size"):
        train_proxy(images, texts, QUICK, seed=0)
