"""`inspect` and `why` of real reductions: what they tell is what the stages did."""

import re

import pytest
from reductions import ledger_rows

from lavis_tldr.report.inspection import inspect_run, verify_run
from lavis_tldr.report.inspection_text import inspection_lines
from lavis_tldr.report.why import why
from lavis_tldr.report.why_text import why_lines


@pytest.fixture
def run(reduced, tmp_path):
    """Three reduced sets of one pool: by alignment, by the draw, and with repeats and a cap on concepts."""
    reduced(name="best", selection="aligned", duplicate_threshold=0.9, keep_ratio=0.25, recipe="original")
    reduced(name="drawn", keep_ratio=0.25)
    # Without NLTK's tagger concepts are words and pairs of words, of which each caption has several.
    reduced(name="repeated", selection="aligned", max_repeats=3, repeat_penalty=0.3, concept_cap=1, keep_ratio=0.5)
    return tmp_path / "out"


def test_reports_of_a_reduction(run):
    facts = inspect_run(run)
    assert list(facts["sets"]) == ["best", "drawn", "repeated"]
    for its in facts["sets"].values():
        assert its["next"] is None
        assert {stage["state"] for stage in its["stages"].values()} == {"done"}
        assert not any(stage["changed_inputs"] for stage in its["stages"].values())
        assert its["summary"]["counts"]["read"] == 48
    assert facts["stages"]["encode"]["num_parts"] == 3
    assert "encode      done in " in "\n".join(inspection_lines(facts, with_parts=True))
    assert verify_run(run)["changed"] == {}
    for name in facts["sets"]:
        check_accounts(run, name)
    counts = facts["sets"]["repeated"]["summary"]["counts"]
    rows = ledger_rows(run / "repeated").values()
    assert counts["drawn"] == sum(row["repeats"] for row in rows) > counts["kept"] == sum(row["kept"] for row in rows)
    assert counts["dropped"]["filtered: concept cap"] > 0
    assert f"({counts['kept'] / 48:.1%}), drawn {counts['drawn']} times, " in "\n".join(inspection_lines(facts))


def check_accounts(run, name):
    rows = ledger_rows(run / name)
    by_draw = 0
    for key, row in rows.items():
        facts = why(run, key, name)
        account = facts["sets"][name]
        assert facts["source"]["caption_original"] == row["caption_original"]
        assert (account["reason"], account["kept"]) == (row["reason"], row["kept"])
        assert account["understudy"] == row["understudy"]
        assert "\n".join(why_lines(facts)).count("KEPT") == row["kept"]
        if row["error"]:
            assert account["cluster"] is None
            continue
        mates = [other for other in rows.values() if other["cluster"] == row["cluster"]]
        assert account["cluster"]["size"] == len(mates)
        assert account["cluster"]["kept"] == sum(other["kept"] for other in mates)
        assert account["cluster"]["quota"] == sum(other.get("repeats", other["kept"]) for other in mates)
        assert account.get("repeats") == row.get("repeats")
        if row.get("repeats", 0) > 1:
            assert account["explanation"].startswith(f"kept {row['repeats']} times: ")
        if row["reason"] == "dropped: filtered: concept cap":
            assert ": of each concept the best 1 pass, and it is not among those of " in account["explanation"]
        assert account["captions"]["final"] == (row["caption"] or None)
        if drawn := re.search(r": (\d+)\w\w of \d+ in its cluster's draw", account["explanation"]):
            by_draw += 1
            assert row["kept"] == (int(drawn[1]) <= account["cluster"]["kept"])
    assert by_draw == (43 if name == "drawn" else 0)
