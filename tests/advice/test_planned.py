"""How much to keep for a planned training: from trainings of several lengths to words, tables and files."""

import csv
import json
import math

import numpy as np
import pytest
from planted import draw_pairs, write_bert, write_run

from lavis_tldr import cli
from lavis_tldr.advice.advise import advise
from lavis_tldr.advice.planned import PlannedTraining, budget_facts
from lavis_tldr.advice.planned_account import budget_notes, budget_words, length_rows, lengths_table
from lavis_tldr.advice.trainings import TrainingOptions, Trainings

NUM_PAIRS, BATCH = 1000, 10  # 100 steps are a pass over the whole set


class Everything:
    """Stands for how samples stand: a ratio keeps just its share."""

    def repeats(self, ratio):
        return (np.arange(NUM_PAIRS) < round(ratio * NUM_PAIRS)).astype(np.int64)


def trained(num_steps, gains, seeds=2, whole=10.0, overlap=0.0):
    """A length at which ratios give more than the whole set by these gains."""
    recalls = {ratio: [whole * (1 + gain)] * seeds for ratio, gain in gains.items()}
    kept = {ratio: ratio * NUM_PAIRS for ratio in gains}
    return Trainings(recalls, [whole] * seeds, NUM_PAIRS, 100, kept, overlap, num_steps, [])


def planted(num_steps, growth=0.5):
    """The best share is 0.1 at a pass and grows; its gain is 0.1 of the squared logarithm."""
    best = math.log(0.1) + growth * math.log(num_steps / 100)
    shares = (0.05, 0.1, 0.2, 0.4, 1.0)
    return trained(num_steps, {r: 0.1 * (best**2 - (math.log(r) - best) ** 2) for r in shares})


def facts(samples_seen, lengths=(100, 200, 400, 800), max_steps=800, make=planted):
    planned = PlannedTraining(samples_seen, NUM_PAIRS, max_steps)
    return budget_facts(planned, [make(num_steps) for num_steps in lengths], Everything(), BATCH, 0)


def test_lengths_to_train_for():
    planned = PlannedTraining(16_000, NUM_PAIRS, 800)
    assert planned.passes == 16
    # Of 500 pairs to train on, 16 passes in batches of 10 are 800 steps.
    assert planned.steps(500, BATCH) == [100, 200, 400, 800] and planned.is_reached(500, BATCH)
    assert planned.steps(900, BATCH) == [100, 200, 400, 800] and not planned.is_reached(900, BATCH)


def test_a_longer_training_is_extrapolated():
    found = facts(16_000)  # 16 passes: 0.1 * 4, each pair 40 times
    assert (found["ratio"], found["pairs"], found["repeats"]) == (0.4, 400, 40)
    best, kept = math.log(0.1 * math.sqrt(8)), math.log(0.4)
    stays, falls = 0.1 * (best**2 - (kept - best) ** 2), 0.1 * kept**2  # at 8 passes, at 16
    assert found["gain"] == pytest.approx((stays + falls) / 2) and found["verdict"] == "better"
    assert (found["beyond"], found["growth"]) == pytest.approx((2, 0.5))
    assert [row["samples_seen"] for row in found["lengths"]] == [1000, 2000, 4000, 8000]
    assert [row["best"]["ratio"] for row in found["lengths"]] == [0.1, 0.1, 0.2, 0.2]
    assert [arm["ratio"] for arm in found["lengths"][0]["arms"]] == [0.05, 0.1, 0.2, 0.4, None]  # 1.0 keeps all
    told = budget_words(found)
    assert told[0] == (
        "For 16,000 samples seen (16 passes over the whole set): keep 0.4 (400 pairs, each seen 40 times). Expected "
        "against the whole set: +11.6% ± 3.2."
    )
    assert told[1].startswith(
        "EXTRAPOLATED: the longest training measured is 8 passes (800 steps, --max-steps), the planned one 2 times as "
        "long. Over 4 lengths the best share grew with the length to the power 0.50, and is taken to go on so;"
    )
    assert len(told) == 2
    assert "the best share did not grow with the length," in budget_words({**found, "growth": 0.0})[1]


def test_a_training_within_reach_is_measured():
    found = facts(8000)
    assert (found["ratio"], found["pairs"], found["repeats"], found["beyond"]) == (0.2, 200, 40, 1)
    assert budget_words(found)[1] == "Measured at that length: 800 steps of the small retrieval model."


def test_the_whole_set_is_the_better_choice():
    found = facts(400_000)
    assert (found["ratio"], found["pairs"], found["repeats"], found["gain"]) == (None, 1000, 400, 0)
    answer, warning, basis, *doubts = budget_words(found)
    assert answer.endswith("keep the whole set (1,000 pairs, each seen 400 times).")
    assert warning.startswith("WARNING: for so long a training no smaller share")
    assert "EXTRAPOLATED" in basis and doubts == [
        "So far beyond what was measured, take it for a direction, not for a figure: raise --max-steps."
    ]


def test_the_best_share_loses():
    found = facts(8000, [800], make=lambda steps: trained(steps, {0.5: -0.2, 0.2: -0.5}))
    assert found["ratio"] is None
    assert "no smaller share is expected" in budget_words(found)[1]
    # A trend may lead to a share that loses.
    found["best_reduced"] = {"ratio": 0.5, "gain": -0.2, "gain_error": 0.05}
    assert budget_words(found)[1] == (
        "WARNING: the whole set is the better choice: the best smaller share, 0.5, is expected at -20.0% ± 5.0 against "
        "it."
    )


def test_what_can_t_be_told_from_the_whole_set_is_warned_of():
    def noisy(steps):
        return Trainings({0.5: [9.0, 12.0]}, [10.0, 10.0], NUM_PAIRS, 100, {0.5: 500}, 0.0, steps, [])

    found = facts(8000, [800], make=noisy)
    assert (found["verdict"], found["ratio"], found["low"], found["high"]) == ("unclear", 0.5, 0.5, 1.0)
    told = budget_words(found)
    assert "WARNING: it can't be told from the whole set" in told[1]
    assert told[3] == "With other seeds, two in three such recommendations lie between 0.5 and the whole set."
    assert told[4].startswith("The smallest ratio tried, 0.5, is the best at the longest length")
    single = facts(8000, [800], make=lambda steps: trained(steps, {0.5: 0.1, 0.2: -0.5}, seeds=1))
    assert "a single seed has no error bar" in budget_words(single)[1] and single["low"] is None


def test_table_rows_and_notes():
    found = facts(16_000)
    assert lengths_table(found)[2:4] == [
        "| 100 | 1 | 1,000 | 10.0% | 10 | 0.1 | +53.0% ± 0.0 |",  # 0.1 * log(0.1)^2
        "| 200 | 2 | 2,000 | 14.1% | 14.1 | 0.1 | +37.1% ± 0.0 |",
    ]
    rows = length_rows(found)
    assert len(rows) == 4 * 5 and rows[4] == {
        "num_steps": 100,
        "passes": 1,
        "samples_seen": 1000,
        "ratio": None,
        "mean_recall": 10,
        "recall_error": 0,
    }
    assert len(budget_notes(found, NUM_PAIRS)) == 1
    assert budget_notes(found, 800)[1].startswith(
        "Passes and repeats are those of 800 drawn pairs; the whole set has 1,000"
    )


def test_a_length_at_which_nothing_was_learnt():
    nothing = trained(100, dict.fromkeys((0.05, 0.1, 0.2, 0.4, 1.0), 0.0), whole=0.0)
    found = facts(16_000, make=lambda steps: nothing if steps == 100 else planted(steps))
    assert found["lengths"][0]["best"] is None and found["ratio"] == 0.4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """1,000 pairs, 40% of them right."""
    bert = write_bert(tmp_path_factory.mktemp("bert"))
    return write_run(tmp_path_factory.mktemp("run"), draw_pairs(1000, 0.4), bert)


def test_the_right_pairs_are_kept_for_a_planned_training(run):
    options = TrainingOptions(num_seeds=3, num_held_out=90, batch_size=32, learning_rate=1e-2)
    found = advise(run, ratios=(0.1, 0.25, 0.4, 0.7), options=options, samples_seen=40_000, max_steps=400)
    budget = found["budget"]
    # What 1,138 steps, as many as planned, give when they are measured: 0.4, +35.5% ± 8.5.
    assert 0.35 <= budget["ratio"] <= 0.5 and budget["verdict"] == "better"
    assert abs(budget["gain"] - 0.355) < budget["gain_error"]
    assert budget["passes"] == 40 and budget["repeats"] == pytest.approx(40_000 / budget["pairs"])
    assert budget["pairs"] == round(1000 * budget["ratio"])
    assert [row["num_steps"] for row in budget["lengths"]] == [50, 100, 200, 400] and 2 < budget["beyond"] < 4
    # The table above is that of the longest trainings.
    assert found["trainings"]["num_steps"] == 400
    assert found["whole"]["mean_recall"] == budget["lengths"][-1]["arms"][-1]["mean_recall"]


def test_command_and_files(run, tmp_path, capsys):
    command = ["advise", str(run), "--ratios", "0.1", "0.4", "--seeds", "2", "--batch-size", "32", "--held-out", "90"]
    planned = ["--samples-seen", "4000", "--max-steps", "60", "--out", str(tmp_path)]
    assert cli.main([*command, *planned]) == 0
    told = capsys.readouterr().out
    assert "| steps | passes | samples seen | best share |" in told and "For 4,000 samples seen (4 passes" in told
    assert (tmp_path / "advice.md").read_text() == told
    budget = json.loads((tmp_path / "advice.json").read_text())["budget"]
    assert [row["num_steps"] for row in budget["lengths"]] == [30, 60] and budget["max_steps"] == 60
    with open(tmp_path / "advice_lengths.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["num_steps"], row["ratio"]) for row in rows] == [
        (steps, ratio) for steps in ("30", "60") for ratio in ("0.1", "0.25", "0.4", "")
    ]
    assert (tmp_path / "advice.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples-seen", "0"], "--samples-seen is 0; it must be at least 1"),
        (["--samples-seen", "9", "--max-steps", "0"], "--max-steps is 0"),
        (["--samples-seen", "9", "--target", "0.9"], "--target has no say with --samples-seen"),
        (["--samples-seen", "9", "--epochs", "2"], "--epochs has no say with --samples-seen"),
        (["--max-steps", "9"], "--max-steps is for --samples-seen"),
    ],
)
def test_refusals(run, capsys, arguments, message):
    assert cli.main(["advise", str(run), *arguments]) == 2
    assert message in capsys.readouterr().err
