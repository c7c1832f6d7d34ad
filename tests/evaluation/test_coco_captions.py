import logging
import math
import subprocess
import sys

import numpy as np
import pytest

from lavis_tldr.evaluation.coco_captions import coco_scores

REFERENCES = {1: ["the cat sat"], 2: ["a dog ran"]}
RESULTS = [{"image_id": 1, "caption": "the cat sat"}, {"image_id": 2, "caption": "a dog"}]
THIRD = {"image_id": 3, "caption": "a cat"}
# Each its own words, so that a caption has its own reference's n-grams or none.
LONG = {n: [" ".join(f"w{n}x{k}" for k in range(6))] for n in range(40)}


def results(captions: dict) -> list[dict]:
    return [{"image_id": image, "caption": caption} for image, caption in captions.items()]


def test_two_images_by_hand():
    scores = coco_scores(RESULTS, REFERENCES)
    # image 2: unigrams 2/sqrt(6) (a, dog of three), bigrams 1/sqrt(2); one bigram less than the reference
    second = 10 * (2 / math.sqrt(6) + 1 / math.sqrt(2)) / 4 * math.exp(-1 / 72)
    assert second == pytest.approx(3.75647, abs=1e-5)
    assert scores["cider"] == pytest.approx(100 * (7.5 + second) / 2) == pytest.approx(562.824, abs=1e-3)
    # 5 unigrams, 3 bigrams, 1 trigram, all right, no 4-gram; e^(1 - 6/5)
    assert scores["bleu4"] == pytest.approx(2.589, abs=1e-3)


def test_written_as_people_write_they_score_the_same():
    written = [{"image_id": 1, "caption": "The cat sat."}, {"image_id": 2, "caption": '"A" dog!'}]
    assert coco_scores(written, {1: ["The cat, sat"], 2: ["A dog ran..."]}) == coco_scores(RESULTS, REFERENCES)


@pytest.mark.parametrize(
    ("domains", "cider"),
    [({1: "in-domain", 2: "in-domain", 3: "out-domain"}, 562.824), ({1: "x", 2: "in-domain", 3: "in-domain"}, 420.890)],
)
def test_domains_have_idf_of_their_own(domains, cider):
    scores = coco_scores([*RESULTS, THIRD], {**REFERENCES, 3: ["a cat ran"]}, domains)
    assert scores["cider"] == pytest.approx(510.989, abs=1e-3)
    assert scores["cider_in-domain"] == pytest.approx(cider, abs=1e-3)
    assert scores["images_in-domain"] == 2
    parts = [scores[f"cider_{domain}"] for domain in domains.values()]
    assert np.mean(parts) != pytest.approx(scores["cider"], abs=1)


def test_a_domain_of_one_image_is_told(caplog):
    domains = {1: "in-domain", 2: "in-domain", 3: "out-domain"}
    with caplog.at_level(logging.WARNING):
        scores = coco_scores([*RESULTS, THIRD], {**REFERENCES, 3: ["a cat ran"]}, domains)
    assert scores["cider_out-domain"] == 0
    assert ["the domain out-domain has one image" in line for line in caplog.messages] == [True]


def test_a_single_image_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        assert coco_scores(RESULTS[:1], {1: ["the cat sat"]})["cider"] == 0
    assert "the set has one image" in caplog.text


def test_rigged_constant_and_random_captions():
    right = {image: texts[0] for image, texts in LONG.items()}
    assert coco_scores(results(right), LONG)["cider"] == pytest.approx(1000)
    assert coco_scores(results(right), LONG)["bleu4"] == pytest.approx(100)
    # One caption for all is right for its own image alone.
    constant = coco_scores(results(dict.fromkeys(LONG, right[0])), LONG)
    assert constant["cider"] == pytest.approx(1000 / len(LONG))
    rng = np.random.default_rng(0)
    shuffled = [
        coco_scores(results(dict(zip(LONG, rng.permutation(list(right.values())), strict=True))), LONG)["cider"]
        for _ in range(30)
    ]
    # A random order has one caption in its place, with deviation 1: 1000 / 40 each, and 1 / sqrt(30) of the mean of 30.
    assert abs(np.mean(shuffled) - 25) < 3 * 25 / math.sqrt(30)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (RESULTS[:1], r"1 images have no caption \(first: 2\)"),
        ([*RESULTS, RESULTS[0]], r"1 captions are of an image that has one already \(first: 1\)"),
        ([*RESULTS, THIRD], r"1 captions are of images without references \(first: 3\)"),
        ([{"image_id": 1}, RESULTS[1]], "expected .*image_id"),
        ([{"image_id": 1, "caption": float("nan")}, RESULTS[1]], "expected .*image_id"),
    ],
)
def test_wrong_results_are_named(given, told):
    with pytest.raises(ValueError, match=told):
        coco_scores(given, REFERENCES)


def test_references_and_domains_must_be_there():
    with pytest.raises(ValueError, match=r"no list of references \(first: 2"):
        coco_scores(RESULTS, {**REFERENCES, 2: "a dog ran"})
    with pytest.raises(ValueError, match="has no domain"):
        coco_scores(RESULTS, REFERENCES, {1: "in-domain"})


def test_needs_neither_java_nor_network():
    """In a process whose PATH is empty and that can't open a socket; LAVIS's way dies there, before any score."""
    code = f"""
import socket
def no(*args, **kwargs): raise OSError("no network")
socket.socket = no
from lavis_tldr.evaluation.coco_captions import coco_scores
assert round(coco_scores({RESULTS!r}, {REFERENCES!r})["cider"], 3) == 562.824
"""
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "LAVIS_TLDR_NO_REGISTER": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
