"""Which stages the recipes of a run share, which they have for themselves, and what a restart takes of them."""

import json

import pytest
from reductions import files_of, ledger_rows, reduce_set, write_bert

from lavis_tldr.report.inspection import inspect_run
from lavis_tldr.report.why import why

CLUSTERS = "cluster/histogram-tfidf-4-seed42"
OWN = ("select", "refine", "ledger")
ALIGNED = {"selection": "aligned", "recipe": "original_generated"}


def times(folder):
    """When each Parquet file was written, by path."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def rewritten(before, after):
    """The stages with files written since, "/"-joined folders; none may be lost."""
    assert before.keys() <= after.keys()
    return {name.rpartition("/")[0] for name, time in after.items() if before.get(name) != time}


def test_clusters_are_shared_where_their_settings_are_equal(configure, tmp_path):
    out = tmp_path / "out"
    reduce_set(configure(name="a"))
    before = times(out)
    reduce_set(configure(name="b", keep_ratio=0.5, recipe="original"))
    assert rewritten(before, times(out)) == {f"b/{name}" for name in OWN}
    before = times(out)
    reduce_set(configure(name="c", num_clusters=3, seed=1))
    assert rewritten(before, times(out)) == {"cluster/histogram-tfidf-3-seed1", *(f"c/{name}" for name in OWN)}
    uses = {name: its["uses"] for name, its in inspect_run(out)["sets"].items()}
    other = ["encode", "cluster/histogram-tfidf-3-seed1"]
    assert uses == {"a": ["encode", CLUSTERS], "b": ["encode", CLUSTERS], "c": other}
    of = {name: account["cluster"]["of"] for name, account in why(out, "000000000")["sets"].items()}
    assert of == {"a": 4, "b": 4, "c": 3}


def test_the_summary_tells_of_the_recipes_own_stages(configure, tmp_path):
    reduce_set(configure(name="a", **ALIGNED))
    figures = reduce_set(configure(name="b", selection="random"))
    assert list(figures["stages"]) == ["encode", "cluster", "select", "refine", "ledger", "build"]
    assert json.loads((tmp_path / "out/b/summary.json").read_text()) == figures


def test_a_restart_takes_this_recipes_variant_alone(configure, tmp_path):
    """What other recipes made of the same clusters stays good, as these come out the same."""
    out = tmp_path / "out"
    reduce_set(configure(name="a", **ALIGNED))
    reduce_set(configure(name="c", num_clusters=3))
    config = configure(name="b", **ALIGNED, keep_ratio=0.5)
    reduce_set(config)
    before, files = times(out), files_of(out)
    reduce_set(config, "run.restart=cluster")
    assert rewritten(before, times(out)) == {CLUSTERS, *(f"b/{name}" for name in OWN)}
    before = times(out)
    reduce_set(configure(name="a", **ALIGNED))
    assert times(out) == before
    assert files_of(out) == files
    facts = inspect_run(out)
    assert [its["next"] for its in facts["sets"].values()] == [None] * 3


def test_scores_of_two_kinds_live_side_by_side(reduced, tmp_path):
    out = tmp_path / "out"
    bert = str(write_bert(tmp_path / "bert"))
    likely = {"name": "likely", **ALIGNED, "caption_all": True}
    alike = {"name": "alike", **ALIGNED, "alignment": "similarity", "similarity_weights": bert}
    reduced(**likely)
    before = times(out)
    reduced(**alike)
    assert rewritten(before, times(out)) == {"score/similarity", *(f"alike/{name}" for name in OWN)}
    facts = inspect_run(out)
    shared = ["encode", "caption", "score/likelihood", "score/similarity", CLUSTERS]
    assert list(facts["stages"]) == shared
    assert facts["sets"]["likely"]["uses"] == [name for name in shared if name != "score/similarity"]
    assert facts["sets"]["alike"]["uses"] == [name for name in shared if name != "score/likelihood"]
    kept = next(key for key, row in ledger_rows(out / "alike").items() if row["kept"])
    scores = why(out, kept)["scores"]
    assert sorted(scores) == ["likelihood_gain", "similarity"]
    for name, score in (("likely", "likelihood_gain"), ("alike", "similarity")):
        assert ledger_rows(out / name)[kept]["alignment"] == scores[score]

    # Scores that compare generated captions go with these; others don't, nor what was selected by them.
    before = times(out)
    reduced("run.restart=caption", **likely)
    assert rewritten(before, times(out)) == {"caption", "likely/refine", "likely/ledger"}
    before = times(out)
    reduced("run.restart=caption", **alike)
    assert rewritten(before, times(out)) == {"caption", "score/similarity", *(f"alike/{name}" for name in OWN)}


@pytest.mark.parametrize("damage", ["missing", "{", "[]"])
def test_a_note_of_the_shared_stages_is_written_anew(configure, tmp_path, damage):
    config = configure()
    reduce_set(config)
    note, before = tmp_path / "out/reduced/variants.json", times(tmp_path / "out")
    sound = note.read_text()
    assert json.loads(sound) == {"cluster": "histogram-tfidf-4-seed42", "encode": ""}
    note.unlink() if damage == "missing" else note.write_text(damage)
    with pytest.raises(ValueError, match=r"variants\.json.*[Rr]un `lavis-tldr reduce`"):
        inspect_run(tmp_path / "out")
    reduce_set(config)
    assert note.read_text() == sound
    assert times(tmp_path / "out") == before


def test_a_refused_change_leaves_the_note_and_the_config(configure, tmp_path):
    config = configure()
    reduce_set(config)
    notes = [tmp_path / "out/reduced" / name for name in ("variants.json", "config.yaml")]
    before = [note.read_text() for note in notes]
    with pytest.raises(ValueError, match="was made from other shared stages than asked for now"):
        reduce_set(config, "run.num_clusters=3")
    for option, stage in (("run.keep_ratio=0.5", "select"), ("run.recipe=generated", "refine")):
        with pytest.raises(ValueError, match=rf"stage {stage} in .* was made otherwise.*\n.*\n.*--restart {stage}"):
            reduce_set(config, option)
    assert [note.read_text() for note in notes] == before
    # Scores of another kind matter to those alone that use scores.
    assert reduce_set(config, "run.alignment=both")["counts"]["kept"] == 11


def test_clusters_alone_are_no_business_of_the_recipe(configure, tmp_path):
    """Other clusters may be made beside those of a finished recipe, which is left as it is."""
    config = configure()
    reduce_set(config)
    before = times(tmp_path / "out")
    reduce_set(config, "run.num_clusters=3", "run.stages=cluster")
    assert rewritten(before, times(tmp_path / "out")) == {"cluster/histogram-tfidf-3-seed42"}
    assert inspect_run(tmp_path / "out")["sets"]["reduced"]["uses"] == ["encode", CLUSTERS]


def test_other_histograms_to_tell_twins_by_are_another_selection(configure, tmp_path):
    """Whatever is clustered."""
    config = configure(representation="embedding", duplicate_threshold=0.9)
    reduce_set(config)
    with pytest.raises(ValueError, match=r"stage select.* was made otherwise.*\n.*tfidf: true -> false"):
        reduce_set(config, "run.tfidf=False")
