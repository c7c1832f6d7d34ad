"""What a reduction will do, in words."""

import pytest

from lavis_tldr.report.explanation_text import explanation_lines

CONFIG = {
    "objective": "",
    "selection": "aligned",
    "keep_ratio": 0.25,
    "balance": 0.5,
    "quota": "size",
    "prefilter": "",
    "prefilter_share": 0.5,
    "prefilter_scope": "all",
    "min_words": 0,
    "duplicate_threshold": None,
    "duplicate_by": "feature",
    "recipe": "original",
    "gate": 0.0,
    "images": "export",
}


def facts(used=("select", "refine", "build"), **changes):
    settings = {
        "selection": {"value": "aligned", "from": "objective", "why": "wrong ones cost"},
        "keep_ratio": {"value": 0.25, "from": "default", "why": "Share to keep"},
    }
    return {
        "run": "out",
        "set": "best",
        "config": {**CONFIG, **changes},
        "settings": settings,
        "stages": [
            stage("select", settings=["selection", "keep_ratio"]),
            stage("ledger", state="done", settings=["selection"]),
        ],
        "needs": [],
        "unfinished": [],
        "used": used,
        "idle": [],
    }


def stage(name, state="to run", **changes):
    found = {"name": name, "what": "Which stay.", "variant": "", "state": state, "parts": 0, "changes": []}
    return {**found, "settings": [], **changes}


def test_stages_and_each_setting_once():
    lines = explanation_lines(facts())
    assert lines[:9] == [
        "set         best in out",
        "objective   none: the usual defaults",
        "",
        "What runs, and what decides it (value, where that comes from, what it is):",
        "select      will run. Which stay.",
        "    selection   aligned  objective  wrong ones cost",
        "    keep_ratio  0.25     default    Share to keep",
        "ledger      done, taken as it is. Which stay.",
        "            Whether source and weights are those of before is seen when it runs.",
    ]


def test_a_refused_stage_and_one_begun():
    told = facts()
    told["stages"] = [
        stage("score", "refused", variant="itm", changes=["a: 1 -> 2"]),
        stage("encode", "to go on", parts=1200),
    ]
    assert explanation_lines(told)[4:8] == [
        "score       itm: REFUSED: what is there was made otherwise. Which stay.",
        "            a: 1 -> 2",
        "            Give another run.name or run folder, or --restart score.",
        "encode      has begun, and goes on (1,200 parts are there). Which stay.",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {},
            "of these best alignment first: 50.0% of the budget goes by cluster, which share by their size, the other",
        ),
        (
            {"balance": 1.0},
            "best alignment first: 100.0% of the budget goes by cluster, which share by their size What becomes",
        ),
        ({"balance": 0.0}, "best alignment first, of all clusters together"),
        ({"selection": "hard_sample", "balance": 0.0}, "farthest from its prototype first, of all"),
        ({"selection": "random"}, "those drawn, whatever their cluster"),
        ({"selection": "uniform", "quota": "density"}, "drawn from each cluster; clusters share by their density, so"),
        ({"prefilter": "aligned"}, "without all but 50.0% of all, best alignment first"),
        ({"prefilter": "gradient", "prefilter_scope": "cluster"}, "of each cluster, largest gradient first"),
        ({"min_words": 4}, "without captions of fewer than 4 words"),
        ({"duplicate_threshold": 0.9}, "of one cluster with a cosine of 0.9 or more (by feature) one stays"),
        ({"recipe": "original"}, "caption the original"),
        ({"recipe": "original_generated"}, "caption both, joined"),
        ({"recipe": "drawn"}, "one of them drawn at every epoch of training"),
        ({"recipe": "gated", "gate": 0.5}, "gated: pair by pair, what fits the image: from an alignment of 0.5 on"),
        ({"recipe": "gated", "gate": 0.5}, "on a caption does; where two do, both, joined"),
        ({"recipe": "gated_drawn", "gate": 0.5}, "does; where two do, both, one of them drawn at every epoch"),
        ({"images": "in_place"}, "images read where they lie"),
        ({}, "images copied into build/images"),
    ],
)
def test_what_is_kept_and_what_becomes_of_captions(changes, told):
    assert told in " ".join(" ".join(explanation_lines(facts(**changes))).split())


def test_a_call_that_keeps_nothing_says_nothing_of_it():
    text = "\n".join(explanation_lines(facts(used=["encode", "score"])))
    assert "What is kept" not in text and "captions:" not in text


def test_needs_and_warnings():
    told = facts()
    need = {"what": "BLIP", "setting": "run.blip_weights", "value": "", "found": False, "note": ""}
    told["needs"] = [need, {**need, "value": "a\x1bb", "found": None, "note": "a hub name"}]
    told["unfinished"] = ["encode"]
    told["idle"] = [{"name": "balance", "value": 0.5, "when": "where a criterion selects"}]
    assert explanation_lines(told)[-7:] == [
        "What it needs:",
        "  MISSING   BLIP: not named (run.blip_weights)",
        "  ?         BLIP: a\\x1bb (run.blip_weights); a hub name",
        "  MISSING   the stage encode, which is not finished: run it first, or leave out --stage",
        "",
        "Warning: set, but without a say here:",
        "            balance 0.5: it has one where a criterion selects",
    ]
