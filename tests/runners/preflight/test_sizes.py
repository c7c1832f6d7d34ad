"""Sizes that don't go together, by hand."""

import pytest

from lavis_tldr.runners.preflight.captions import count_tokens, cut_warning
from lavis_tldr.runners.preflight.sizes import (
    batch_fault,
    image_size_fault,
    momentum_warning,
    queue_fault,
    queue_warning,
    warmup_warning,
)


@pytest.mark.parametrize("at_once", [64, 128, 256, 600, 800, 960, 1152, 1200, 1280, 1440, 2400, 2880])
def test_batches_that_divide_lavis_queue_pass(at_once):
    assert queue_fault(57600, at_once, 1) is None


@pytest.mark.parametrize("at_once", [512, 1024, 2048, 1260])
def test_batches_that_do_not_are_refused(at_once):
    assert "no multiple of the" in queue_fault(57600, at_once, 1)


def test_the_nearest_sizes_that_go_are_named():
    # The paper's 1260 pairs as 70 x 18: 45 x 1260 = 56700, 46 x 1260 = 57960; 57600 / 18 = 3200, whose divisors next
    # to 70 are 64 and 80.
    assert queue_fault(57600, 70, 18) == (
        "model.queue_size 57600 is no multiple of the 1260 pairs at once (run.batch_size_train 70 x 18 processes): the "
        "first step would fail. Set model.queue_size to 56700 or 57960, or run.batch_size_train to 64 or 80."
    )


def test_a_queue_below_a_batch_is_refused_whatever_its_kind():
    assert "is less than the 8 pairs" in queue_fault(0, 8, 1)  # blip_retrieval's default
    assert queue_fault(6, 4, 2, takes_any=True).endswith("queue_size to 8, or run.batch_size_train to 3.")
    assert queue_fault(57600, 70, 18, takes_any=True) is None


def test_a_queue_of_more_than_a_quarter_of_the_set_is_pointed_out():
    assert queue_warning(57600, 230400, 1200) is None
    # A quarter of 7200 is 1800, 3 x 600; the queue holds the set 8 times.
    told = queue_warning(57600, 7200, 600)
    assert "7200 pairs" in told and "(it holds 8 times the set)" in told and told.endswith("Lower it to 1800.")


def test_momentum_encoders_that_hardly_move_are_pointed_out():
    # 1 / (1 - .995) = 200 updates, of which 20 spans are 4,000; in 200 updates 20 spans of 10 updates fit, 1 - 1 / 10.
    assert momentum_warning(0.995, 4100) is None and momentum_warning(0.9, 210) is None
    told = momentum_warning(0.995, 200)
    assert "over 200 updates, and the training has 200" in told and "to 0.9 or less" in told
    assert momentum_warning(0.995, 99) is None  # a trial
    assert momentum_warning(0.995, 0) is None  # a run that does not say how long it trains


def test_one_pair_has_no_negative():
    assert "Set it to 2" in batch_fault(1) and batch_fault(2) is None


def test_a_warmup_longer_than_the_epoch():
    assert "which has 560 steps here" in warmup_warning(3000, 560, "linear_warmup_step_lr")
    assert warmup_warning(560, 560, "linear_warmup_step_lr") is None
    assert warmup_warning(3000, 560, "linear_warmup_cosine_steps") is None
    assert warmup_warning(3000, 0, "linear_warmup_step_lr") is None  # a stream of unknown length


def test_images_of_another_size():
    assert image_size_fault("coco", "train", 224, 224) is None
    assert image_size_fault("coco", "train", 384, 224).endswith("set that to 224, or model.image_size to 384.")


def test_the_share_of_captions_that_is_cut():
    lengths = [10] * 80 + [40] * 19 + [50]
    told = cut_warning(lengths, 30, "max_txt_len")
    assert told.startswith("20% of 100 captions looked at are longer than model.max_txt_len, 30 tokens")
    assert "(99% have at most 50)" in told
    assert cut_warning(lengths, 50, "max_txt_len") is None
    assert cut_warning([10] * 999 + [31], 30, "max_txt_len") is None  # one in a thousand
    assert cut_warning([], 30, "max_txt_len") is None
    assert count_tokens(object(), ["a"]) == []
