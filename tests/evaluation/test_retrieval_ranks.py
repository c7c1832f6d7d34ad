"""Ranks and hit rates, by hand and by a naive oracle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavis_tldr.evaluation.ranks import best_ranks, hit_rate, median_rank, retrieval_figures, retrieval_ranks

# Two images with 2 and 3 captions.
SCORES = np.array([[0.9, 0.2, 0.8, 0.1, 0.0], [0.3, 0.7, 0.6, 0.95, 0.5]])
IMG2TXT, TXT2IMG = {0: [0, 1], 1: [2, 3, 4]}, {0: 0, 1: 0, 2: 1, 3: 1, 4: 1}


def figures(scores=SCORES, img2txt=IMG2TXT, txt2img=TXT2IMG):
    return retrieval_figures(retrieval_ranks(scores, scores.T, img2txt, txt2img))


def test_uneven_captions_by_hand():
    """Image 0 finds text 0, image 1 text 3. Texts 0, 3, 4 find their image; 1 and 2 find the other one first."""
    assert best_ranks(SCORES, list(IMG2TXT.values())).tolist() == [1, 1]
    of_texts = best_ranks(SCORES.T, [[image] for image in TXT2IMG.values()])
    assert of_texts.tolist() == [1, 2, 2, 1, 1]
    assert hit_rate(of_texts, 1) == 60 and hit_rate(of_texts, 2) == 100
    found = figures()
    assert (found["txt_r1"], found["img_r1"]) == (100, 60)
    # img_r_mean = (60 + 100 + 100) / 3
    assert found["img_r_mean"] == pytest.approx(260 / 3) and found["r_mean"] == pytest.approx((100 + 260 / 3) / 2)
    assert found["agg_metrics"] == found["txt_r_mean"] == 100


def test_a_hit_is_no_recall():
    """True recall at 1 would be the mean of 1/2 and 1/3, 41.67."""
    assert figures()["txt_r1"] == 100


def test_equal_scores_are_at_chance():
    """10 images of 5 captions: one of ten finds its own at 1, both ways; of k first texts those are of k / 5 images."""
    img2txt = {image: list(range(5 * image, 5 * image + 5)) for image in range(10)}
    txt2img = {text: text // 5 for text in range(50)}
    found = figures(np.zeros((10, 50)), img2txt, txt2img)
    assert (found["txt_r1"], found["img_r1"]) == (10, 10)
    assert (found["txt_r5"], found["img_r5"]) == (10, 50)
    assert (found["txt_r10"], found["img_r10"]) == (20, 100)


def test_a_rigged_model_finds_all_and_a_random_one_as_many_as_chance():
    """100 images of 1 to 5 captions. By chance a text has its image among the first k of 100 in k of 100 cases, and an
    image one of its c texts among the first k of 300 unless all c are among the others."""
    img2txt, txt2img = {}, {}
    for image in range(100):
        img2txt[image] = list(range(len(txt2img), len(txt2img) + 1 + image % 5))
        txt2img.update(dict.fromkeys(img2txt[image], image))
    right = np.array([[txt2img[text] == image for text in txt2img] for image in img2txt], float)
    assert set(figures(right, img2txt, txt2img).values()) == {100}
    found = figures(np.random.default_rng(0).normal(size=right.shape), img2txt, txt2img)
    for k in (1, 5, 10):
        by_image = np.array([1 - math.comb(300 - len(own), k) / math.comb(300, k) for own in img2txt.values()])
        for way, chances in (("txt", by_image), ("img", np.full(300, k / 100))):
            deviation = 100 * np.sqrt((chances * (1 - chances)).sum()) / len(chances)
            assert abs(found[f"{way}_r{k}"] - 100 * chances.mean()) < 3 * deviation


def test_a_tied_item_before_counts_and_one_behind_does_not():
    assert best_ranks(np.array([[1.0, 1.0, 1.0]]), [[1]]).tolist() == [2]
    assert best_ranks(np.array([[1.0, 1.0, 1.0]]), [[2, 1]]).tolist() == [2]
    assert best_ranks(np.array([[1.0, 2.0, 2.0, 0.0]]), [[0, 2]]).tolist() == [2]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_ranks_are_places_in_the_sorted_list(scores, data):
    """Naive oracle: sort by score, then index, and look where the first right item stands; scores with many ties."""
    right = data.draw(st.lists(st.integers(0, len(scores) - 1), min_size=1, unique=True))
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))
    expected = 1 + min(order.index(item) for item in right)
    assert best_ranks(np.array([scores], dtype=float), [right]).tolist() == [expected]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    scores = SCORES.copy()
    scores[1, 4] = bad
    with pytest.raises(ValueError, match="1 of 5 scores of query 1 are NaN or infinite"):
        figures(scores)


def test_a_query_without_right_item_is_refused():
    with pytest.raises(ValueError, match="query 1 has no right item"):
        best_ranks(SCORES, [[0], []])


def test_no_query_is_refused():
    with pytest.raises(ValueError, match="no queries"):
        hit_rate(np.array([]), 1)


def test_median_of_even_numbers_lies_between():
    assert median_rank(np.array([1, 2, 3, 10])) == 2.5
    assert median_rank(np.array([4, 1, 9])) == 4
