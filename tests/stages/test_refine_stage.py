"""The stage refine on drawn sources: both captions scored, kept by their scores, or drawn at training time."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reductions import annotations, files_of, ledger_rows

from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.scoring.likelihood import CaptionScorer


@pytest.fixture
def planted(monkeypatch):
    """Scores by the caption alone: of a generated one as given, of an original the contrary, of both as given."""

    def plant(of_generated: float, of_joined: float = -9.0):
        def score(self, codes, captions, generated):
            def of(text: str) -> float:
                return of_joined if "; " in text else of_generated if text.startswith("GENERATED") else -of_generated

            return {"likelihood_gain": np.array([of(text) for text in captions], np.float32)}

        monkeypatch.setattr(CaptionScorer, "__call__", score)
        monkeypatch.setattr(
            "lavis_tldr.stages.caption.caption", lambda context, images: [f"GENERATED {row[0]}" for row in images.codes]
        )

    return plant


def refined_rows(folder):
    """The stage's rows by key, each with its original caption's alignment."""
    refined = pa.concat_tables(pq.read_table(path) for path in sorted((folder / "refine").glob("*.parquet")))
    rows = ledger_rows(folder)
    original = ("caption_original", "alignment")
    return {row["key"]: row | {name: rows[row["key"]][name] for name in original} for row in refined.to_pylist()}


@pytest.mark.parametrize(("of_generated", "expected"), [(0.5, "generated"), (-0.5, "original")])
def test_a_wrong_caption_does_not_survive_beside_a_good_one(reduced, tmp_path, planted, of_generated, expected):
    planted(of_generated)
    reduced(recipe="gated", keep_ratio=1)
    rows = refined_rows(tmp_path / "out/reduced")
    assert len(rows) == 43
    for row in rows.values():
        assert row["caption_from"] == expected
        assert row["caption"] == row[f"caption_{expected}"]
        assert row["alignment"] == -of_generated and row["alignment_generated"] == of_generated
        assert row["alignment_refined"] == 0.5


def test_threshold_and_joiner(reduced, tmp_path, planted):
    planted(0.5, of_joined=3.0)
    reduced(recipe="gated", keep_ratio=1, alignment_threshold=-0.5)
    for row in refined_rows(tmp_path / "out/reduced").values():
        assert row["caption"] == f"{row['caption_generated']}; {row['caption_original']}"
        assert row["alignment_refined"] == 3.0


def test_gated_keeps_what_reaches_the_threshold(reduced, tmp_path):
    figures = reduced(recipe="gated", keep_ratio=1, joiner=" + ")
    for row in refined_rows(tmp_path / "out/reduced").values():
        fits = [row["alignment"] >= 0, row["alignment_generated"] >= 0]
        better = ["original", "generated"][row["alignment_generated"] > row["alignment"]]
        other = {"original": "generated", "generated": "original"}[better]
        expected = f"{better}_{other}" if all(fits) else better
        assert row["caption_from"] == expected
        assert row["caption"] == " + ".join(row[f"caption_{name}"] for name in expected.split("_"))
        if expected in ("original", "generated"):
            alone = row["alignment" if expected == "original" else "alignment_generated"]
            assert row["alignment_refined"] == alone
    # Scored by the same untrained captioner, some captions fall on each side of the threshold.
    assert len(figures["counts"]["caption_from"]) > 1


def test_refined_captions_are_scored_where_asked_for(reduced, tmp_path):
    reduced(recipe="original_generated")
    reduced(recipe="original_generated", name="scored", score_refined=True)
    plain, scored = refined_rows(tmp_path / "out/reduced"), refined_rows(tmp_path / "out/scored")
    assert plain.keys() == scored.keys()
    for key, row in scored.items():
        assert row["caption"] == plain[key]["caption"]
        for name in ("alignment_generated", "alignment_refined"):
            assert np.isnan(plain[key][name]) and np.isfinite(row[name])


def test_nothing_is_borrowed_for_a_recipe_that_generates_nothing(reduced, tmp_path):
    reduced(recipe="original", num_borrowed=2)
    assert not (tmp_path / "out/reduced/refine/bank.parquet").exists()
    assert {row["caption_from"] for row in refined_rows(tmp_path / "out/reduced").values()} == {"original"}


def test_scores_of_captions_do_not_depend_on_parts(reduced, tmp_path, album):
    """The same images in parts of other sizes get the same captions and scores."""
    folders = []
    for size in (5, 100):
        source = album.source | {"part_size": size}
        of = SimpleNamespace(**{**vars(album), "source": source})
        reduced(of=of, output=tmp_path / f"out{size}", recipe="gated", keep_ratio=1, num_clusters=2)
        folders.append(tmp_path / f"out{size}/reduced")
    one, other = map(refined_rows, folders)
    assert one.keys() == other.keys()
    for key, row in one.items():
        assert row["caption"] == other[key]["caption"] and row["caption_from"] == other[key]["caption_from"]
        assert row["alignment_refined"] == pytest.approx(other[key]["alignment_refined"], abs=1e-4)


def test_the_best_of_several_captions_is_taken(reduced, tmp_path, planted, monkeypatch):
    planted(0.5)
    drawn = ["GENERATED poor", "best of all", "GENERATED poor"]
    monkeypatch.setattr(CodebookCaptioner, "sample_from", lambda self, images, *_: [drawn] * len(images))

    def score(self, images, captions, generated):
        return {"likelihood_gain": np.array([9.0 if "best" in text else 0.5 for text in captions], np.float32)}

    monkeypatch.setattr(CaptionScorer, "__call__", score)
    reduced(recipe="generated", num_sampled=3)
    rows = refined_rows(tmp_path / "out/reduced").values()
    assert {(row["caption"], row["generated_by"], row["alignment_generated"]) for row in rows} == {
        ("best of all", "sampled", 9.0)
    }
    told = [(row["kept"], row["generated_by"]) for row in ledger_rows(tmp_path / "out/reduced").values()]
    assert set(told) == {(True, "sampled"), (False, "")}
    drawn[1] = "GENERATED poor"  # all alike: the decoded one stands
    reduced(recipe="generated", num_sampled=3, name="alike")
    rows = refined_rows(tmp_path / "out/alike").values()
    assert {row["generated_by"] for row in rows} == {"decoded"}
    assert all(row["caption"] != "GENERATED poor" for row in rows)


def test_sampled_captions_do_not_depend_on_parts(reduced, tmp_path, album):
    found = []
    for size in (5, 100):
        of = SimpleNamespace(**{**vars(album), "source": album.source | {"part_size": size}})
        reduced(of=of, output=tmp_path / f"out{size}", recipe="generated", keep_ratio=1, num_clusters=2, num_sampled=4)
        rows = refined_rows(tmp_path / f"out{size}/reduced")
        found.append({key: (row["caption"], row["generated_by"]) for key, row in rows.items()})
    assert found[0] == found[1]
    assert {kind for _, kind in found[0].values()} == {"decoded", "sampled"}


def test_captions_of_all_hold_the_sampled_ones(reduced, tmp_path):
    """Drawn for every image by a stage that sets share, they are those that a set draws for itself."""
    found = []
    for caption_all in (False, True):
        reduced(recipe="generated", num_sampled=3, output=tmp_path / f"out{caption_all}", caption_all=caption_all)
        rows = refined_rows(tmp_path / f"out{caption_all}/reduced")
        found.append({key: (row["caption"], row["generated_by"]) for key, row in rows.items()})
    assert found[0] == found[1] and len(found[0]) > 5


def test_one_caption_an_image_is_as_before(reduced, tmp_path):
    reduced(recipe="gated")
    table = pq.read_table(next((tmp_path / "out/reduced/refine").glob("*.parquet")))
    assert "generated_by" not in table.column_names
    assert "candidates" not in json.loads((tmp_path / "out/reduced/refine/manifest.json").read_text())["config"]


def test_only_the_contrastive_scorer_finds_captions_to_borrow(reduced):
    with pytest.raises(ValueError, match="num_borrowed seeks captions by the contrastive scorer"):
        reduced(recipe="gated", num_borrowed=2)


def test_drawn_keeps_both_and_says_so(reduced, tmp_path):
    figures = reduced(recipe="drawn", keep_ratio=1)
    assert figures["counts"]["caption_from"] == {"drawn": 43}
    for row in annotations(tmp_path / "out/reduced/build"):
        assert row["caption_from"] == "drawn"
        # LAVIS's ImageTextPairDataset reads this field alone, and so reads both.
        assert row["caption"] == f"{row['caption_original']}; {row['caption_generated']}"


def test_other_captions_need_no_word_of_where_they_are_from(reduced, tmp_path):
    reduced(recipe="original_generated")
    assert all("caption_from" not in row for row in annotations(tmp_path / "out/reduced/build"))


def test_the_scorer_decides_what_is_made_anew(reduced, tmp_path):
    reduced(recipe="gated")
    before = files_of(tmp_path / "out/reduced/refine")
    reduced("run.restart=[refine]", recipe="gated")
    assert files_of(tmp_path / "out/reduced/refine") == before
    with pytest.raises(ValueError, match="alignment_threshold"):
        reduced(recipe="gated", alignment_threshold=0.1)
