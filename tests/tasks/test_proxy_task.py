import pyarrow as pa
import pytest

from lavis_tldr.tasks.retrieval_proxy import _spread, build_arms


def ledger(kept, refined, caption_from="original_generated"):
    """Five records, the last one failed; ``refined`` replaces the captions of those kept, and was generated."""
    keys = ["a", "b", "c", "d", "e"]
    return pa.table(
        {
            "key": keys,
            "image_key": keys,
            "error": ["", "", "", "", "empty caption"],
            "kept": [key in kept for key in keys],
            "caption_original": ["one", "two", "three", "four", ""],
            "caption": [refined.get(key, "") for key in keys],
            "caption_generated": [refined.get(key, "") for key in keys],
            "caption_from": [caption_from if key in kept else "" for key in keys],
        }
    )


def test_arms_are_the_whole_a_random_share_and_each_ledgers_sets():
    arms = build_arms({"paper": ledger("ac", {"a": "one; 1", "c": "three; 3"}), "best": ledger("b", {"b": "2"})})
    pairs = {arm.name: arm.pairs(0) for arm in arms}
    whole = [("a", ("one",)), ("b", ("two",)), ("c", ("three",)), ("d", ("four",))]
    assert pairs["whole set"] == whole
    assert len(pairs["random share"]) == 2
    assert set(pairs["random share"]) < set(whole)
    assert pairs["paper, original captions"] == [("a", ("one",)), ("c", ("three",))]
    assert pairs["paper, refined captions"] == [("a", ("one; 1",)), ("c", ("three; 3",))]
    assert pairs["best, refined captions"] == [("b", ("2",))]


def test_of_a_set_whose_captions_are_drawn_both_are_trained_on():
    *_, original, refined = build_arms({"drawn": ledger("a", {"a": "1"}, "drawn")})
    assert original.pairs(0) == [("a", ("one",))]
    assert refined.pairs(0) == [("a", ("one", "1"))]


def test_the_random_share_follows_the_seed():
    share = build_arms({"paper": ledger("ac", {})})[1]
    drawn = [frozenset(share.pairs(seed)) for seed in range(20)]
    assert drawn == [frozenset(share.pairs(seed)) for seed in range(20)]
    assert len(set(drawn)) > 1


def test_spread_by_hand():
    found = _spread([{"tr_r1": 1.0, "mean_recall": 2.0}, {"tr_r1": 3.0, "mean_recall": 4.0}])
    assert found == {"tr_r1": 2.0, "mean_recall": 3.0, "deviation": pytest.approx(1.41)}
