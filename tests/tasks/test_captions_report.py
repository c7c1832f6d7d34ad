"""`lavis-tldr captions` of real reductions: what it tells is what the ledger says."""

import json

import numpy as np
import pytest
from reductions import ledger_rows

from lavis_tldr import cli
from lavis_tldr.report.captions import caption_report


def test_report_of_gated_captions(reduced, tmp_path, capsys):
    figures = reduced(recipe="gated", keep_ratio=0.5)
    out = tmp_path / "out"
    capsys.readouterr()
    assert cli.main(["captions", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    rows = [row for row in ledger_rows(out / "reduced").values() if not row["error"]]
    kept = [row for row in rows if row["kept"]]
    assert (facts["read"], facts["kept"]) == (48, len(kept))
    assert facts["set"] == str(out / "reduced")
    assert (facts["captions_from"], facts["scored_by"]) == ("gated", "likelihood")
    alignment = facts["alignment"]
    assert alignment["threshold"] == 0.0
    assert alignment["source"]["mean"] == pytest.approx(np.mean([row["alignment"] for row in rows]), abs=1e-4)
    for kind, column in (("original", "alignment"), ("refined", "alignment_refined")):
        scores = [row[column] for row in kept]
        assert alignment[kind]["mean"] == pytest.approx(np.mean(scores), abs=1e-4)
        assert alignment[kind]["fitting"] == pytest.approx(np.mean(np.array(scores) >= 0), abs=1e-4)
    distinct = len({row["caption"] for row in kept}) / len(kept)
    assert facts["captions"]["refined"]["distinct_captions"] == pytest.approx(distinct, abs=1e-4)
    for example in facts["rare_words"]["lost"]:
        assert all(word in example["original"].lower() for word in example["words"])
        assert not any(word in example["refined"].lower().split() for word in example["words"])
    # The closing summary has the same figures, without examples.
    facts["rare_words"]["lost"] = []
    assert figures["captions"] == {name: facts[name] for name in ("captions", "rare_words", "alignment")}


def test_report_in_words_with_a_plot(reduced, tmp_path, capsys):
    reduced(recipe="drawn", score_refined=True)
    capsys.readouterr()
    plot = tmp_path / "plots" / "figure7.png"
    assert cli.main(["captions", str(tmp_path / "out"), "--name", "reduced", "--plot", str(plot)]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0] == f"set         {tmp_path}/out/reduced"
    assert "captions    drawn\n" in told and "11 of 48 records" in told
    for kind in ("all originals", "kept, original", "kept, generated", "kept, refined"):
        assert kind in told
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert cli.main(["captions", str(tmp_path / "out"), "--plot", str(tmp_path / "figure7.doc")]) == 2
    assert "figure7.doc should end in one of: " in capsys.readouterr().err


def test_both_joined_lose_no_word(reduced, tmp_path):
    reduced(recipe="original_generated")
    rare = caption_report(tmp_path / "out")["rare_words"]
    assert rare["refined"] == rare["original"] > 0
    assert rare["lost"] == [] and rare["well_aligned"] is None


def test_without_scores_there_is_nothing_to_draw(reduced, tmp_path, capsys):
    reduced(recipe="original_generated")
    reduced(recipe="original_generated", name="aligned", selection="aligned")
    capsys.readouterr()
    for name in ("reduced", "aligned"):
        plot = tmp_path / f"{name}.png"
        assert cli.main(["captions", str(tmp_path / "out"), "--name", name, "--plot", str(plot)]) == 2
        assert "run.score_refined: True" in capsys.readouterr().err
        assert not plot.exists()
