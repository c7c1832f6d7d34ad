import math

import pytest

from lavis_tldr.evaluation.caption_metrics import caption_metrics

REFERENCES = {"a": ["a red kite over the sea"], "b": ["two dogs in the grass"], "c": ["a house beside a tree"]}


def test_perfect_captions():
    metrics = caption_metrics({image: texts[0] for image, texts in REFERENCES.items()}, REFERENCES)
    assert metrics["cider"] == pytest.approx(10.0)
    assert metrics["bleu4"] == pytest.approx(1.0)
    assert metrics["distinct"] == 3


def test_wrong_captions():
    metrics = caption_metrics({"a": "zebra", "b": "zebra", "c": "zebra"}, REFERENCES)
    assert metrics["cider"] == pytest.approx(0.0) and metrics["bleu4"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["distinct"] == 1


def test_bleu_by_hand():
    # 1- to 4-gram precisions of "a b c d e" against "a b c d f": 4/5, 3/4, 2/3, 1/2; as long as the reference
    metrics = caption_metrics({"i": "a b c d e"}, {"i": ["a b c d f"]})
    assert metrics["bleu4"] == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    # half as long: the brevity penalty exp(1 - 8 / 4)
    metrics = caption_metrics({"i": "a b c d"}, {"i": ["a b c d e f g h"]})
    assert metrics["bleu4"] == pytest.approx(math.exp(-1))


def test_case_and_punctuation_do_not_count():
    plain = caption_metrics(
        {"a": "a red kite over sea"} | {k: v[0] for k, v in REFERENCES.items() if k != "a"}, REFERENCES
    )
    dotted = {k: [text.title() + " ." for text in texts] for k, texts in REFERENCES.items()}
    loud = {"a": "A red kite, over SEA!"} | {k: v[0] for k, v in REFERENCES.items() if k != "a"}
    assert caption_metrics(loud, dotted) == plain


def test_empty_caption_scores_nothing():
    metrics = caption_metrics({"a": "", "b": "two dogs in the grass", "c": ""}, REFERENCES)
    assert 0 < metrics["cider"] < 10


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="1 captions and 3 reference sets are not of the same images"):
        caption_metrics({"a": "x"}, REFERENCES)
