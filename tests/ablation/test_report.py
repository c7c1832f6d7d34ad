"""Means, deviations and differences by hand, and how tables show them."""

import csv
from pathlib import Path

import pytest

from lavis_tldr.ablation.plan import Result
from lavis_tldr.ablation.report import arm_records, label, markdown_lines, seed_records, summarize, write_report
from lavis_tldr.ablation.settings import Ablation, Arm, Plot
from lavis_tldr.report.spread import Spread


def arm(name, **keys):
    return Arm(name, "base.yaml", (), **keys)


def ablation(*arms, **keys):
    settings = {"report": ("mean_recall", "tr_r1"), "plot": Plot(), "seeds": (0, 1, 2), "title": "Table 9"}
    rest = {"proxy": None, "evaluate": (), "metrics": {}, "output_dir": Path("out")}
    return Ablation(name="table9", arms=arms, **{**settings, **rest, **keys})


def result(mean_recall, tr_r1, pairs=10, error=""):
    metrics = {} if error else {"mean_recall": mean_recall, "tr_r1": tr_r1}
    return Result({}, metrics, pairs, error=error)


ARMS = (arm("whole", is_reference=True), arm("random"), arm("broken"), arm("later"), arm("one"))
RESULTS = {
    "whole": {0: result(10.0, 1.0, 40), 1: result(12.0, 3.0, 40), 2: result(14.0, 5.0, 40)},
    "random": {0: result(20.0, 7.0, 9), 1: result(23.0, 7.0, 11), 2: result(26.0, 7.0, 10)},
    "broken": {0: result(0, 0, error="no | such\nweights")},
    "one": {1: result(8.5, 2.0)},
}


def test_means_deviations_and_differences():
    whole, random, broken, later, one = summarize(ablation(*ARMS), RESULTS)
    # Deviation of 10, 12, 14: squares 4 + 0 + 4, over 2.
    assert whole.spreads == {"mean_recall": Spread(12.0, 2.0, 3), "tr_r1": Spread(3.0, 2.0, 3)}
    assert whole.difference is None
    assert (random.spreads["mean_recall"], random.difference) == (Spread(23.0, 3.0, 3), 11.0)
    assert (random.pairs, one.pairs) == (10, 10)
    assert (broken.note, broken.spreads, broken.difference) == ("failed: no | such\nweights", {}, None)
    assert (later.note, later.results) == ("not run", {})
    assert (one.spreads["mean_recall"], one.difference) == (Spread(8.5, None, 1), -3.5)


def test_without_a_reference_there_is_no_difference():
    (row,) = summarize(ablation(arm("random")), RESULTS)
    assert row.difference is None
    lines = markdown_lines(ablation(arm("random")), [row])
    assert lines[2] == "| arm | pairs | mean recall | TR@1 |"
    assert lines[-1] == "Mean ± standard deviation over 3 seeds."


def test_an_arm_without_all_seeds_still_counts_with_those_it_has():
    found = summarize(ablation(*ARMS), {"whole": {0: RESULTS["whole"][0]}, "random": RESULTS["random"]})
    assert found[1].difference == 13.0


def test_markdown():
    of = ablation(*ARMS)
    assert markdown_lines(of, summarize(of, RESULTS)) == [
        "**Table 9**",
        "",
        "| arm | pairs | mean recall | TR@1 | difference | note |",
        "| --- | --- | --- | --- | --- | --- |",
        "| whole | 40 | 12.00 ± 2.00 | 3.00 ± 2.00 |  |  |",
        "| random | 10 | 23.00 ± 3.00 | 7.00 ± 0.00 | +11.00 |  |",
        "| broken |  |  |  |  | failed: no \\| such weights |",
        "| later |  |  |  |  | not run |",
        "| one | 10 | 8.50 | 2.00 | -3.50 |  |",
        "",
        "Mean ± standard deviation over 3 seeds; difference in mean recall to whole.",
    ]


def test_records_of_arms_and_seeds():
    rows = summarize(ablation(*ARMS), RESULTS)
    assert arm_records(rows)[1] == {
        "arm": "random",
        "pairs": 10,
        "seeds": 3,
        "mean_recall": 23.0,
        "mean_recall_deviation": 3.0,
        "tr_r1": 7.0,
        "tr_r1_deviation": 0.0,
        "difference": 11.0,
        "note": "",
    }
    assert arm_records(rows)[2]["mean_recall"] == "" and arm_records(rows)[2]["note"].startswith("failed: ")
    assert seed_records(rows)[4] == {"arm": "random", "seed": 1, "pairs": 11, "mean_recall": 23.0, "tr_r1": 7.0}
    assert len(seed_records(rows)) == 7


@pytest.mark.parametrize("results", [RESULTS, {}], ids=["results", "nothing yet"])
def test_files(tmp_path, results):
    of = ablation(*ARMS)
    write_report(of, summarize(of, results), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "table9.md",
        "table9.csv",
        "table9_seeds.csv",
        "table9.png",
    }
    assert (tmp_path / "table9.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "table9.csv", newline="") as file:
        assert [row["arm"] for row in csv.DictReader(file)] == ["whole", "random", "broken", "later", "one"]


def test_labels_are_the_papers():
    assert [label(name) for name in ("tr_r1", "ir_r10", "mean_recall")] == ["TR@1", "IR@10", "mean recall"]
