import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from planted import NUM_CLUSTERS, draw_pairs, write_bert, write_encode, write_run

from lavis_tldr import cli
from lavis_tldr.advice.advise import advise
from lavis_tldr.advice.finished import FinishedSet
from lavis_tldr.advice.selections import rule_of, stand_all
from lavis_tldr.advice.trainings import TrainingOptions

QUICK = TrainingOptions(num_seeds=3, epochs=10, num_held_out=90, batch_size=32, learning_rate=1e-2)
RATIOS = (0.1, 0.25, 0.4, 0.7, 1.0)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def run(bert, tmp_path_factory):
    """1,000 pairs, 40% of them right."""
    return write_run(tmp_path_factory.mktemp("run"), draw_pairs(1000, 0.4), bert)


@pytest.fixture(scope="module")
def advice(run):
    return advise(run, against="best", target=0.97, ratios=RATIOS, options=QUICK)


def test_the_planted_share_is_recommended(advice):
    # All of the right pairs and none of the wrong ones: less gives fewer pairs to learn from, more gives wrong ones.
    told = advice["recommendation"]
    assert told["ratio"] == told["best"] == 0.4
    recalls = {row["ratio"]: row["mean_recall"] for row in advice["ratios"]}
    assert recalls[0.4] > 1.2 * max(recalls[0.1], advice["whole"]["mean_recall"])
    assert recalls[1.0] == pytest.approx(advice["whole"]["mean_recall"])  # nothing is dropped: the same trainings


def test_the_table_by_hand(advice):
    rows = {row["ratio"]: row for row in advice["ratios"]}
    assert list(rows) == list(RATIOS)
    assert [rows[ratio]["pairs"] for ratio in RATIOS] == [100, 250, 400, 700, 1000]
    assert advice["whole"]["pairs"] == 1000 and advice["whole"]["aligned"] == pytest.approx(0.4)
    assert rows[0.4]["aligned"] > 0.95  # all right pairs, but for what the clusters' quotas shift
    assert rows[0.7]["aligned"] == pytest.approx(0.4 / 0.7, abs=1e-3)
    assert all(row["clusters"] == NUM_CLUSTERS for row in rows.values())
    assert advice["whole"]["codes_seen"] == pytest.approx(120 / 124)
    assert advice["whole"]["rare_words"] is None  # 120 words in 3,000 places: none is rare
    for row in rows.values():
        assert row["quality"] > 0 and row["quality_error"] >= 0 and row["recall_error"] > 0
    assert advice["trainings"] == {"num_steps": 312, "num_seeds": 3, "num_pairs": 1000, "num_held_out": 90}


def test_ratios_of_a_set_that_repeats_the_best(bert, tmp_path):
    """The budget counts repeats: a ratio covers fewer pairs, and its trainings see each as often as the rule says."""
    pairs = draw_pairs(600, 0.4)
    plain = advise(write_run(tmp_path / "plain", pairs, bert), ratios=(0.25, 0.5), options=QUICK)
    run = write_run(tmp_path / "repeated", pairs, bert, max_repeats=3)
    repeated = advise(run, ratios=(0.25, 0.5), options=QUICK)
    assert [row["pairs"] for row in plain["ratios"]] == [150, 300]
    assert all(50 <= row["pairs"] < 150 for row in repeated["ratios"][:1])
    assert 150 < repeated["ratios"][1]["pairs"] < 300
    assert repeated["whole"] == plain["whole"]
    standings = stand_all(FinishedSet(run), rule_of(FinishedSet(run)))
    for row in repeated["ratios"]:
        repeats = standings.repeats(row["ratio"])
        assert (repeats.sum(), (repeats > 0).sum()) == (row["ratio"] * 600, row["pairs"]) and repeats.max() <= 3


def test_a_ledger_that_repeats_otherwise_is_refused(bert, tmp_path):
    run = write_run(tmp_path, draw_pairs(60, 0.5), bert, max_repeats=3)
    part = run / "best/ledger/00001.parquet"
    table = pq.read_table(part)
    repeats = table["repeats"].to_numpy().copy()
    row = int(np.flatnonzero(repeats)[0])
    repeats[row] += 1
    pq.write_table(table.set_column(table.column_names.index("repeats"), "repeats", [repeats]), part)
    with pytest.raises(ValueError, match=f"keeps other samples.*{table['key'][row].as_py()}"):
        advise(run)


def test_a_lower_target_takes_less(run):
    assert advise(run, target=0.7, ratios=[0.1], options=QUICK)["recommendation"]["ratio"] < 0.4


def test_a_target_out_of_reach(run, bert, capsys):
    command = ["advise", str(run), "--target", "9", "--ratios", "0.25", "--seeds", "1", "--epochs", "1"]
    assert cli.main([*command, "--batch-size", "32", "--held-out", "90"]) == 0
    told = capsys.readouterr().out
    assert "No ratio reaches the target, 900.0% of what the whole set gives. The best, 0.25, gives" in told
    assert "a single seed has no error bar" in told


def test_files_and_json(run, tmp_path, capsys):
    command = ["advise", str(run), "--ratios", "0.1", "0.4", "--seeds", "2", "--epochs", "4", "--batch-size", "32"]
    assert cli.main([*command, "--held-out", "90", "--out", str(tmp_path / "out"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "out/advice.json").read_text()) == printed
    assert [row["ratio"] for row in printed["ratios"]] == [0.1, 0.25, 0.4]  # the set's own as well
    table = (tmp_path / "out/advice.md").read_text().splitlines()
    assert table[0].startswith("| keep ratio | pairs | mean recall |")
    assert table[2].startswith("| whole set | 1,000 |") and table[4].startswith("| 0.25 | 250 |")
    assert (tmp_path / "out/advice.csv").read_text().splitlines()[0].startswith("ratio,pairs,clusters")
    assert (tmp_path / "out/advice.png").read_bytes().startswith(b"\x89PNG")


def test_scored_on_a_set_apart(run, tmp_path):
    pairs = draw_pairs(120, 1.0, seed=5)
    pairs.keys = [f"{i // 2}#{i % 2}" for i in range(120)]  # two captions an image
    write_encode(tmp_path / "dev", pairs)
    found = advise(run, ratios=[0.4], options=QUICK, validate_on=tmp_path / "dev")
    assert found["trainings"]["num_held_out"] == 120
    assert found["ratios"][-1]["quality"] > 1.1
    write_encode(tmp_path / "other", pairs, model="f" * 32)
    with pytest.raises(ValueError, match="another captioner"):
        advise(run, validate_on=tmp_path / "other")


def test_neither_parts_nor_other_ratios_decide_what_a_ratio_gives(bert, advice, tmp_path):
    run = write_run(tmp_path, draw_pairs(1000, 0.4), bert, num_parts=1, ratio=0.4)
    found = advise(run, against="best", target=0.97, ratios=[0.4], options=QUICK)
    (row,) = found["ratios"]
    assert row == pytest.approx(advice["ratios"][2])
    assert found["whole"] == pytest.approx(advice["whole"])


class TestRefusals:
    def test_unfinished(self, bert, tmp_path):
        run = write_run(tmp_path, draw_pairs(60, 0.5), bert)
        manifest = run / "best/ledger/manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"done": False}))
        with pytest.raises(ValueError, match="stage ledger .* is not finished"):
            advise(run)

    def test_no_sentence_encoder(self, tmp_path):
        run = write_run(tmp_path, draw_pairs(60, 0.5), "")
        with pytest.raises(ValueError, match="--text-weights"):
            advise(run)

    def test_too_few_pairs(self, bert, tmp_path):
        run = write_run(tmp_path, draw_pairs(300, 0.5), bert)
        with pytest.raises(ValueError, match=r"300 drawn pairs \(300 of them trusted\).*--validate-on"):
            advise(run)

    def test_no_ratio_fills_a_batch(self, run):
        with pytest.raises(ValueError, match="a batch of 128"):
            advise(run, ratios=[0.01], options=TrainingOptions(num_held_out=1000), sample=500)

    def test_a_ledger_of_an_older_version(self, bert, tmp_path):
        run = write_run(tmp_path, draw_pairs(60, 0.5), bert)
        part = run / "best/ledger/00000.parquet"
        pq.write_table(pq.read_table(part).drop_columns(["score"]), part)
        with pytest.raises(ValueError, match="lacks the columns.*'score'.*Run again from select"):
            advise(run)

    def test_a_ledger_that_keeps_others(self, bert, tmp_path):
        run = write_run(tmp_path, draw_pairs(60, 0.5), bert)
        part = run / "best/ledger/00001.parquet"
        table = pq.read_table(part)
        reason = np.array(table["reason"].to_pylist(), object)
        row = list(reason).index("dropped: low alignment")
        reason[row] = "kept"
        pq.write_table(table.set_column(table.column_names.index("reason"), "reason", [list(reason)]), part)
        with pytest.raises(ValueError, match=f"keeps other samples.*{table['key'][row].as_py()}"):
            advise(run)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"target": 0}, "--target"),
            ({"target": float("nan")}, "--target"),
            ({"ratios": [25]}, "write 0.25"),
            ({"sample": 0}, "--sample"),
            ({"options": TrainingOptions(trusted_share=0)}, "--trusted"),
            ({"options": TrainingOptions(num_seeds=0)}, "--seeds"),
            ({"options": TrainingOptions(epochs=0)}, "--epochs"),
        ],
    )
    def test_settings(self, run, settings, message):
        with pytest.raises(ValueError, match=message):
            advise(run, **settings)
