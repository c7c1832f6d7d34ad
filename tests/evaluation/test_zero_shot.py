"""Zero-shot classification, by hand."""

import numpy as np
import pytest

from lavis_tldr.evaluation.zero_shot import (
    TEMPLATES,
    classifier_logits,
    prompt_classifier,
    prompts_of,
    zero_shot_figures,
)

IMAGE = np.array([[0.6, 0.8]])
# Two prompts of class A, (1, 0) and (0, 1), and of class B the same twice.
PROMPTS = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.6], [0.8, 0.6]]])


def test_prompts_are_averaged_as_embeddings():
    """A is the diagonal, (.6 + .8) / sqrt 2 = .98995 from the image; B is .48 + .48 = .96. Mean logits: .7 < .96."""
    np.testing.assert_allclose(prompt_classifier(PROMPTS), [[0.5**0.5, 0.5**0.5], [0.8, 0.6]])
    np.testing.assert_allclose(classifier_logits(IMAGE, prompt_classifier(PROMPTS)), [[98.9949, 96]], atol=1e-3)
    mean_logits = (PROMPTS @ IMAGE[0]).mean(1)
    np.testing.assert_allclose(mean_logits, [0.7, 0.96])


def test_lengths_of_prompts_do_not_weigh():
    longer = PROMPTS * np.array([[[1.0], [5.0]], [[2.0], [1.0]]])
    np.testing.assert_allclose(prompt_classifier(longer), prompt_classifier(PROMPTS))


def test_figures_by_hand():
    """Classes 6, 11, 13 of the 1,000: of four images two are right. Column, not number, is what logits go by."""
    logits = np.array([[3.0, 1, 0], [0, 2, 1], [1, 0, 0.5], [0, 0.2, 0.1]])
    found = zero_shot_figures(logits, [6, 11, 13, 6], [6, 11, 13])
    assert found == {"acc": 50, "acc5": 100, "chance": pytest.approx(100 / 3), "agg_metrics": 50}


def test_what_is_outside_the_set_does_not_count():
    """Over all 1,000 the image looks like class 7; among the set's it is right."""
    every = np.zeros((1, 1000))
    every[0, 7], every[0, 11] = 9, 1
    numbers = [6, 11, 13]
    assert zero_shot_figures(every[:, numbers], [11], numbers)["acc"] == 100


def test_top_five():
    logits = np.arange(6, 0, -1.0)[None].repeat(2, 0)  # 0 is first, 5 last
    found = zero_shot_figures(logits, [4, 5], range(6))
    assert (found["acc"], found["acc5"]) == (0, 50)


def test_equal_logits_are_at_chance():
    found = zero_shot_figures(np.zeros((20, 10)), [label for label in range(10) for _ in range(2)], range(10))
    assert (found["acc"], found["acc5"], found["chance"]) == (10, 50, 10)


def test_a_rigged_model_is_right_and_a_random_one_at_chance():
    """1,000 images of ten classes."""
    numbers = list(range(100, 110))
    labels = [numbers[image % 10] for image in range(1000)]
    rigged = zero_shot_figures(np.equal.outer(labels, numbers).astype(float), labels, numbers)
    assert (rigged["acc"], rigged["acc5"]) == (100, 100)
    found = zero_shot_figures(np.random.default_rng(0).normal(size=(1000, 10)), labels, numbers)
    assert abs(found["acc"] - 10) < 3 * 100 * (0.1 * 0.9 / 1000) ** 0.5
    assert abs(found["acc5"] - 50) < 3 * 100 * (0.5 * 0.5 / 1000) ** 0.5


def test_refusals():
    with pytest.raises(ValueError, match="label 7 is none of the set's 3 classes"):
        zero_shot_figures(np.zeros((1, 3)), [7], [6, 11, 13])
    with pytest.raises(ValueError, match="NaN"):
        zero_shot_figures(np.array([[np.nan, 1.0]]), [0], [0, 1])
    with pytest.raises(ValueError, match="run.templates is 'openai'; expected one of openai80, openai7, single"):
        prompts_of(["cat"], "openai")


def test_templates():
    assert {name: len(templates) for name, templates in TEMPLATES.items()} == {
        "openai80": 80,
        "openai7": 7,
        "single": 1,
    }
    assert prompts_of(["tench", "goldfish"], "openai7")[4] == [
        "a tench in a video game.",
        "a goldfish in a video game.",
    ]
    assert prompts_of(["tench"], "openai80")[0] == ["a bad photo of a tench."]
    for templates in TEMPLATES.values():
        assert len({template("x") for template in templates}) == len(templates)
