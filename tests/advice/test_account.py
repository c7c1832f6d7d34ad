import pytest

from lavis_tldr.advice.account import table_lines, words

FACTS = {"clusters": 3, "effective_clusters": 2.5, "codes_seen": 0.5, "near_duplicates": 0.25, "rare_words": None}


def row(ratio, pairs, recall, quality=None, error=None, **changes):
    found = {"ratio": ratio, "pairs": pairs, **FACTS, "mean_alignment": None, "aligned": None}
    return found | {"mean_recall": recall, "recall_error": 0.5, "quality": quality, "quality_error": error} | changes


def advice(**recommendation):
    told = {"target": 0.95, "against": "whole", "ratio": 0.1, "sure_ratio": 0.1, "best": 0.25, "num_seeds": 5}
    return {
        "whole": row(None, 4000, 20),
        "ratios": [row(0.1, 400, 19.5, 0.975, 0.01), row(0.25, 1000, 22, 1.1, 0.02)],
        "recommendation": told | {"seeds_needed": None} | recommendation,
        "notes": ["One."],
    }


def test_the_table_leaves_out_what_is_not_known():
    assert table_lines(advice()) == [
        "| keep ratio | pairs | mean recall | quality | clusters | effective | codes seen | near duplicates |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| whole set | 4,000 | 20.00 ± 0.50 |  | 3 | 2.5 | 50.0% | 25.0% |",
        "| 0.1 | 400 | 19.50 ± 0.50 | 97.5% ± 1.0 | 3 | 2.5 | 50.0% | 25.0% |",
        "| 0.25 | 1,000 | 22.00 ± 0.50 | 110.0% ± 2.0 | 3 | 2.5 | 50.0% | 25.0% |",
    ]


def test_sure():
    assert words(advice()) == [
        "Keep 0.1 (400 pairs). It gives 97.5% ± 1.0 and is the smallest ratio that comes within a standard error of "
        "the target, 95.0% of what the whole set gives, or above it. The best, 0.25, gives 110.0% ± 2.0.",
        "It lies above the target by more than its standard error (5 seeds).",
        "",
        "- One.",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sure_ratio": 0.25, "seeds_needed": 9}, "by more is 0.25. About 9 seeds would tell (--seeds)."),
        ({"sure_ratio": 0.25}, "by more is 0.25. More seeds alone would hardly tell: more pairs to score on would"),
        ({"sure_ratio": None, "seeds_needed": 9}, "(5 seeds). About 9 seeds would tell"),
        ({"sure_ratio": None, "num_seeds": 1}, "a single seed has no error bar"),
    ],
)
def test_doubts(changes, told):
    assert told in words(advice(**changes))[1]


def test_none_reaches_the_target():
    lines = words(advice(ratio=None, sure_ratio=None, against="best", target=1.0))
    assert lines[0] == (
        "No ratio reaches the target, 100.0% of what the best of all tried gives. The best, 0.25, gives 110.0% ± 2.0."
    )
    assert lines[1] == ""
