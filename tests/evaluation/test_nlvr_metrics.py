"""NLVR2's accuracy and consistency, by hand and at chance."""

import random

import pytest

from lavis_tldr.evaluation.nlvr_metrics import nlvr_metrics

EXAMPLES = [("dev-0-0-0", "True"), ("dev-0-1-0", "False"), ("dev-0-0-1", "True"), ("dev-0-1-1", "False")]
PREDICTIONS = [("dev-0-0-0", "True"), ("dev-0-1-0", "True"), ("dev-0-0-1", "True"), ("dev-0-1-1", "False")]


def test_worked_example():
    assert nlvr_metrics(PREDICTIONS, EXAMPLES) == {"acc": 75.0, "consistency": 50.0}


def test_labels_are_compared_case_blind_and_in_any_order():
    shouted = [(name, label.upper()) for name, label in reversed(PREDICTIONS)]
    assert nlvr_metrics(shouted, EXAMPLES) == {"acc": 75.0, "consistency": 50.0}
    plain = [(name, label == "True") for name, label in PREDICTIONS]
    assert nlvr_metrics(plain, EXAMPLES) == {"acc": 75.0, "consistency": 50.0}


def test_sentences_of_other_sets_and_splits_are_others():
    """One wrong of four that share the sentence's number: three sentences are left whole."""
    names = ["dev-0-0-0", "dev-1-0-0", "test1-0-0-0", "dev-10-0-0"]
    predictions = [(name, name != "dev-1-0-0") for name in names]
    assert nlvr_metrics(predictions, [(name, "True") for name in names]) == {"acc": 75.0, "consistency": 75.0}


def test_rigged_constant_and_random_predictions():
    """Four pairs a sentence: by chance one sentence in 16 is right with all of them."""
    draw = random.Random(0)
    names = [f"dev-{number}-{pair}-0" for number in range(300) for pair in range(4)]
    examples = [(name, "True" if number % 2 else "False") for number, name in enumerate(names)]
    assert nlvr_metrics(examples, examples) == {"acc": 100, "consistency": 100}
    assert nlvr_metrics([(name, "True") for name in names], examples) == {"acc": 50, "consistency": 0}
    found = nlvr_metrics([(name, draw.random() < 0.5) for name in names], examples)
    assert abs(found["acc"] - 50) < 3 * 100 * (0.25 / 1200) ** 0.5
    assert abs(found["consistency"] - 100 / 16) < 3 * 100 * (1 / 16 * 15 / 16 / 300) ** 0.5


@pytest.mark.parametrize(
    ("predictions", "examples", "message"),
    [
        (PREDICTIONS[1:], EXAMPLES, r"no prediction for identifier \(1: dev-0-0-0\)"),
        (PREDICTIONS + PREDICTIONS[:1], EXAMPLES, r"predictions hold a doubled identifier \(1: dev-0-0-0\)"),
        (PREDICTIONS, EXAMPLES + EXAMPLES[:1], r"the set holds a doubled identifier \(1: dev-0-0-0\)"),
        ([*PREDICTIONS, ("dev-9-0-0", "True")], EXAMPLES, r"unknown identifier \(1: dev-9-0-0\)"),
        ([], [], "the set is empty"),
        ([("a-b", "True")], [("a-b", "True")], "'a-b' is no split-set-pair-sentence"),
        ([("dev-0-0-0", float("nan"))], EXAMPLES[:1], "dev-0-0-0 has the label nan; expected True or False"),
    ],
)
def test_faults(predictions, examples, message):
    with pytest.raises(ValueError, match=message):
        nlvr_metrics(predictions, examples)
