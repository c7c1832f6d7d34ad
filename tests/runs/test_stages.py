"""The table of stages: what follows from it, and that docs and modules keep to it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import lavis_tldr
from lavis_tldr.reduction.alignments import ALIGNMENTS
from lavis_tldr.runs.formats import formats_markdown
from lavis_tldr.runs.stages import (
    OWN_STAGES,
    SHARED_STAGES,
    STAGES,
    VARIED_STAGES,
    dependents,
    shared_variants,
    used_stages,
)

ROOT = Path(lavis_tldr.__file__).parents[1]


def config(**changes):
    """What a reduction of the paper's kind asks for."""
    asked = {
        "captions_all": False,
        "needs_scores": False,
        "needs_gradients": False,
        "scores_refined": False,
        "scores_use_captions": False,
        "alignment": "contrastive",
        "scorers": ("contrastive",),
        "score_variant": "contrastive",
        "cluster_variant": "histogram-tfidf-3000-seed42",
    }
    return SimpleNamespace(**{**asked, **changes})


def test_order_and_sharing():
    assert SHARED_STAGES == ("encode", "caption", "score", "gradient", "cluster")
    assert OWN_STAGES == ("select", "refine", "repair", "ledger", "build")
    assert VARIED_STAGES == ("score", "cluster")


def test_every_stage_comes_after_what_it_is_made_from():
    order = list(STAGES)
    for name, spec in STAGES.items():
        assert all(order.index(link.stage) < order.index(name) for link in spec.made_from)


def test_every_stage_has_its_module():
    modules = {path.stem for path in (ROOT / "lavis_tldr/stages").glob("*.py")}
    assert modules >= STAGES.keys()


@pytest.mark.parametrize(
    ("restarted", "asked", "found"),
    [
        (["ledger"], {}, ["ledger", "build"]),
        (["refine"], {}, ["refine", "repair", "ledger", "build"]),
        (["cluster"], {}, ["cluster", "select", "refine", "repair", "ledger", "build"]),
        # Scores that nothing is made from take nothing along.
        (["score"], {}, ["score"]),
        (["score"], {"needs_scores": True}, ["score", "select", "refine", "repair", "ledger", "build"]),
        # Other scores survive new captions.
        (["caption"], {"captions_all": True}, ["caption", "refine", "repair", "ledger", "build"]),
        (
            ["caption"],
            {"captions_all": True, "needs_scores": True, "scores_use_captions": True},
            ["caption", "score", "select", "refine", "repair", "ledger", "build"],
        ),
    ],
)
def test_what_a_restart_takes_along(restarted, asked, found):
    assert dependents(restarted, config(**asked)) == found


def test_used_stages():
    assert used_stages(config()) == ["encode", "cluster", *OWN_STAGES]
    assert used_stages(config(needs_scores=True, needs_gradients=True, captions_all=True)) == list(STAGES)


def test_shared_stages_with_their_variants():
    clusters = "histogram-tfidf-3000-seed42"
    assert shared_variants(config()) == {"encode": "", "cluster": clusters}
    found = shared_variants(config(needs_scores=True, captions_all=True))
    assert found == {"encode": "", "caption": "", "score": "contrastive", "cluster": clusters}


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_scores_are_the_alignments(alignment):
    assert STAGES["score"].schema_for(config(scorers=(alignment,))).names == ["key", *ALIGNMENTS[alignment].columns]


def test_the_ledgers_columns_are_those_of_the_stages_before_it():
    before = {
        column.name: column for name in ("encode", "cluster", "select", "refine") for column in STAGES[name].columns
    }
    ledger = {column.name: column for column in STAGES["ledger"].columns}
    assert ledger.keys() - before.keys() == {"part", "reason"}
    assert all(ledger[name] is before[name] for name in ledger.keys() & before.keys())


def test_columns_are_named_once_and_told():
    for spec in STAGES.values():
        assert len(set(spec.column_names)) == len(spec.columns)
        assert all(column.meaning.endswith(".") for column in spec.columns)


def test_the_page_of_formats_is_written_from_the_table():
    written = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    assert written == formats_markdown(), "run: python -m lavis_tldr.runs.formats > docs/formats.md"
