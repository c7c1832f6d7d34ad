"""Pairs scored by a target, by given embeddings and by mixtures, as stages of a reduction."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from reductions import files_of, ledger_rows, reduce_set, write_bert

from lavis_tldr.api import open_run
from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.report.captions import caption_report
from lavis_tldr.report.why import why
from lavis_tldr.scoring import contrastive
from lavis_tldr.scoring.contrastive import folds_of
from lavis_tldr.stages import trusted

FITTED = {"alignment": "mixture", "mixture": "fitted"}


def rows_of(folder):
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["key"]: row for row in rows}


def usable(run):
    return {key: row for key, row in rows_of(run / "encode").items() if not row["error"]}


@pytest.fixture
def bert(tmp_path):
    return {"similarity_weights": str(write_bert(tmp_path / "bert", captions=["a red kite over the sea and a dog"]))}


@pytest.fixture
def clean(tmp_path_factory, configure, tmp_path):
    """Configure with 24 pairs known to be right: ``clean.write(alignment="normsim")``."""
    from lavis_tldr.scenes import draw_clean_set

    folder = tmp_path_factory.mktemp("clean")
    annotations, _ = draw_clean_set(folder, 26, image_size=32, dev_share=0.08)
    source = {"format": "lavis_json", "annotations": str(annotations), "image_root": str(folder / "images")}

    def write(**keys):
        path = configure(**keys)
        config = yaml.safe_load(path.read_text())
        processor = {"vis_processor": {"eval": {"image_size": 32}}}
        config["datasets"]["tldr_captions"] = {"train": source, **processor}
        path.write_text(yaml.safe_dump(config))
        return path

    return SimpleNamespace(write=write, source=source)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("p", ["inf", 2])
def test_normsim_by_a_naive_oracle(reduced, bert, album, tmp_path, p):
    """A target that is a source: the album, encoded by a reduction of its own."""
    keys = {"task": "tldr_score", "alignment": "normsim", "normsim_p": p, **bert}
    reduced(**keys, target=album.source)
    reduced(of=album, output=tmp_path / "album", stages=["encode"])
    target, pairs = usable(tmp_path / "album"), usable(tmp_path / "out")
    embed = SentenceEncoder(bert["similarity_weights"])
    features = np.array([row["feature"] for row in pairs.values()], np.float32)
    mean, spread = features.mean(0), features.std(0, ddof=1).clip(1e-6)
    images = {row["image_key"]: row["feature"] for row in target.values()}
    known = unit((np.array(list(images.values()), np.float32) - mean) / spread)
    said = embed([row["caption_original"] for row in target.values()]).numpy()
    (folder,) = (tmp_path / "out/score").iterdir()
    found = rows_of(folder)
    assert found.keys() == pairs.keys()
    for key in list(pairs)[::5]:
        image = unit((np.array([pairs[key]["feature"]], np.float32) - mean) / spread)
        text = embed([pairs[key]["caption_original"]]).numpy()
        parts = [(known @ image[0]), (said @ text[0])]
        by_norm = [part.max() if p == "inf" else np.sqrt((part**2).mean()) for part in parts]
        assert found[key]["normsim"] == pytest.approx(np.mean(by_norm), abs=2e-3)


def test_a_folder_of_images_is_a_target(reduced, bert, tmp_path, caplog):
    """Its images are the pool's own, some of them: these are most like it."""
    caplog.set_level("INFO")
    reduced(stages=["encode"])
    pairs = usable(tmp_path / "out")
    (tmp_path / "target").mkdir()
    wanted = list(pairs)[::9]
    for key in wanted:
        row = pairs[key]
        with open(row["image_path"], "rb") as file:
            file.seek(row["image_offset"])
            (tmp_path / f"target/{key}.jpg").write_bytes(file.read(row["image_size"]))
    folder = {"format": "folder", "root": str(tmp_path / "target")}
    reduced(selection="normsim", alignment="normsim", target=folder, balance=0.0, keep_ratio=0.25, **bert)
    rows = ledger_rows(tmp_path / "out/reduced")
    assert all(rows[key]["alignment"] > 0.99 for key in wanted)  # near duplicates are as near
    kept, dropped = ([row["alignment"] for row in rows.values() if row["kept"] == is_kept] for is_kept in (True, False))
    assert min(kept) >= np.nanmax(dropped)
    assert "run.target has no captions: pairs are compared with it by their images alone" in caplog.text


def test_scores_of_two_variants_are_told_apart(reduced, album, tmp_path):
    keys = {"task": "tldr_score", "alignment": "normsim", "normsim_of": "image", "target": album.source}
    for p in ("inf", 2):
        reduced(**keys, normsim_p=p)
    folders = sorted((tmp_path / "out/score").iterdir())
    key = next(iter(usable(tmp_path / "out")))
    found = why(tmp_path / "out", key)["scores"]
    assert found.keys() == {"normsim", f"normsim ({folders[1].name})"}
    assert list(found.values()) == [rows_of(folder)[key]["normsim"] for folder in folders]


def test_in_which_parts_the_pairs_lie_changes_nothing(reduced, pool, album, bert, tmp_path):
    keys = {"alignment": "mixture", "mixture": {"likelihood": 1, "normsim": 1}, "target": pool.source, **bert}
    found = []
    for size in (5, 100):
        of = SimpleNamespace(**{**vars(album), "source": album.source | {"part_size": size}})
        output = tmp_path / f"out{size}"
        reduced(of=of, output=output, selection="aligned", num_clusters=2, recipe="original", **keys)
        found.append(ledger_rows(output / "reduced"))
    one, other = found
    assert len(one) == 36 and one.keys() == other.keys()
    for key, row in one.items():
        assert row["kept"] == other[key]["kept"]
        assert row["alignment"] == pytest.approx(other[key]["alignment"], abs=1e-4)


def test_trusted_pairs_are_the_target_by_themselves(clean, configure, bert, tmp_path):
    keys = {"task": "tldr_score", "alignment": "normsim", "normsim_of": "image"}
    reduce_set(clean.write(**keys))
    reduce_set(configure(output=tmp_path / "named", **keys, target=clean.source))
    (named,) = (tmp_path / "named/score").iterdir()
    own, same = rows_of(tmp_path / "out/score/normsim-image"), rows_of(named)
    assert {key: row["normsim"] for key, row in own.items()} == {key: row["normsim"] for key, row in same.items()}
    with pytest.raises(ValueError, match=r"normsim compares with pairs known to be right, .*or another target"):
        reduce_set(configure(output=tmp_path / "none", **keys))
    assert not (tmp_path / "none/encode").exists()
    with pytest.raises(ValueError, match=r"run.target: annotation_root|run.target: .*'annotations'"):
        reduce_set(configure(output=tmp_path / "none", **keys, target={"format": "lavis_json", "image_root": "x"}))


def test_a_mixture_is_the_weighted_mean_of_standardized_scores(clean, bert, tmp_path):
    weights = {"normsim": 0.5, "likelihood": 1.5}
    keys = {"selection": "mixture", "alignment": "mixture", "keep_ratio": 0.5, "balance": 0.0, **bert}
    reduce_set(clean.write(**keys, mixture=weights))
    rows = rows_of(tmp_path / "out/score/mixture-likelihood-normsim")
    gain, near = (np.array([row[name] for row in rows.values()]) for name in ("likelihood_gain", "normsim"))
    expected = 0.75 * (gain - gain.mean()) / gain.std() + 0.25 * (near - near.mean()) / near.std()
    ledger = ledger_rows(tmp_path / "out/reduced")
    np.testing.assert_allclose([ledger[key]["alignment"] for key in rows], expected, atol=1e-4)
    kept = [ledger[key]["kept"] for key in rows]
    assert np.argsort(-expected)[: sum(kept)].tolist() == np.flatnonzero(kept)[np.argsort(-expected[kept])].tolist()
    key = next(iter(rows))
    assert why(tmp_path / "out", key)["scores"].keys() == {"likelihood_gain", "normsim"}
    # Other weights need no other scores.
    before = files_of(tmp_path / "out/score")
    reduce_set(clean.write(**keys, mixture=weights | {"normsim": 1.5}, name="even"))
    assert files_of(tmp_path / "out/score") == before
    assert ledger_rows(tmp_path / "out/even")[key]["alignment"] != ledger[key]["alignment"]
    with pytest.raises(ValueError, match=r"stage select .*made otherwise.*\n.*mixture.normsim: 0.5 -> 1.0"):
        reduce_set(clean.write(**keys, mixture=weights | {"normsim": 1.0}))


def test_a_mixture_gates_generated_captions(clean, bert, tmp_path):
    keys = {"alignment": "mixture", "mixture": {"likelihood": 1, "normsim": 1}, "recipe": "gated", **bert}
    reduce_set(clean.write(**keys, keep_ratio=1.0, alignment_threshold=0.0))
    rows = [row for row in ledger_rows(tmp_path / "out/reduced").values() if row["kept"]]
    found = {row["caption_from"] for row in rows}
    assert len(found) > 1
    for row in rows:
        fitting = {name for name in ("", "_generated") if row[f"alignment{name}"] >= 0}
        if fitting:
            assert row["caption_from"].count("original") == ("" in fitting)
            assert row["caption_from"].count("generated") == ("_generated" in fitting)


@pytest.fixture
def quick_heads(monkeypatch):
    monkeypatch.setattr(contrastive, "_OPTIONS", ProxyOptions(num_steps=10, batch_size=16, width=8))


def test_fitted_weights_are_written_and_used(clean, bert, tmp_path, quick_heads, caplog):
    keys = FITTED | {"mixture_of": ["contrastive", "likelihood", "normsim"], "recipe": "gated", **bert}
    caplog.set_level("INFO")
    reduce_set(clean.write(**keys, keep_ratio=1.0))
    assert caplog.text.count("mixture fitted on 24 right and 24 swapped pairs") == 1
    folder = tmp_path / "out/score/mixture-contrastive-likelihood-normsim-fitted"
    fitted = json.loads((folder / "mixture.json").read_text())
    assert list(fitted["scores"]) == ["contrast", "likelihood_gain", "normsim"]
    ledger = ledger_rows(tmp_path / "out/reduced")
    for key, row in rows_of(folder).items():
        expected = fitted["intercept"] + sum(
            score["weight"] * (row[name] - score["mean"]) / score["deviation"]
            for name, score in fitted["scores"].items()
        )
        assert ledger[key]["alignment"] == pytest.approx(expected, abs=1e-4)
    assert caption_report(tmp_path / "out")["alignment"]["threshold"] == 0
    before = files_of(tmp_path / "out")
    reduce_set(clean.write(**keys, keep_ratio=1.0), "run.restart=score")
    assert files_of(tmp_path / "out") == before
    assert json.loads((folder / "mixture.json").read_text()) == fitted
    (folder / "mixture.json").write_text("{}" + " " * (len(json.dumps(fitted, indent=2)) - 1))
    with pytest.raises(ValueError, match=r"mixture\.json holds no fitted weights.*--restart score"):
        reduce_set(clean.write(**keys, keep_ratio=1.0), "run.restart=select")


def test_swapped_captions_are_of_the_images_fold(clean, configure, tmp_path):
    """What scores a swapped pair has seen neither its image nor its caption."""
    items = [(f"k{i}", None, [f"caption {i}", "another"]) for i in range(40)]
    context = SimpleNamespace(trusted=SimpleNamespace(items=items), config=SimpleNamespace(alignment_seed=7))

    def table(context, places):
        return pa.table({"key": [key for key in places if key != "k3"]})  # one can't be read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trusted, "encoded_images", table)
        found = trusted.pairs_to_fit(context)
    keys = found.table["key"].to_pylist()
    assert sorted(keys) == sorted(f"k{i}" for i in range(40) if i != 3)
    assert found.right == [f"caption {key[1:]}" for key in keys]
    assert sorted(found.wrong) == sorted(found.right)  # each caption once
    fold_of = dict(zip(found.right, folds_of(keys, 7).tolist(), strict=True))
    for right, wrong, fold in zip(found.right, found.wrong, found.folds, strict=True):
        assert right != wrong and fold_of[right] == fold_of[wrong] == fold


def test_a_mixture_that_is_fitted_needs_trusted_pairs(configure, bert):
    with pytest.raises(ValueError, match="a fitted mixture learns from pairs known to be right, and there are none"):
        reduce_set(configure(selection="aligned", **FITTED, mixture_of=["likelihood"], **bert))


@pytest.fixture
def embedded(reduced, tmp_path):
    """Embeddings of the pool's usable pairs, in no order and among others, and the settings that name them."""
    reduced(stages=["encode"])
    keys = [*usable(tmp_path / "out"), "of no pair"]
    rng = np.random.default_rng(0)
    rng.shuffle(keys)
    images = rng.normal(size=(len(keys), 8)).astype(np.float32)
    texts = images + rng.normal(size=images.shape).astype(np.float32)
    names = {"images": "i.npy", "texts": "t.npy", "keys": "k.txt"}
    np.save(tmp_path / "i.npy", images)
    np.save(tmp_path / "t.npy", texts)
    (tmp_path / "k.txt").write_text("\n".join(keys))
    files = {name: str(tmp_path / path) for name, path in names.items()}
    return SimpleNamespace(keys=keys, images=images, texts=texts, files=files)


def scored(folder):
    (found,) = (path for path in (folder / "score").iterdir())
    return {key: row["given"] for key, row in rows_of(found).items()}


def test_given_embeddings_by_a_naive_oracle(reduced, embedded, tmp_path):
    reduced(selection="aligned", alignment="given", embeddings=embedded.files, given_temperature=0.1, recipe="original")
    images, texts = (dict(zip(embedded.keys, unit(x), strict=True)) for x in (embedded.images, embedded.texts))
    found = scored(tmp_path / "out")
    assert found.keys() == usable(tmp_path / "out").keys()
    for key, score in list(found.items())[::7]:
        others = [other for other in found if other != key]
        by_caption = np.mean([np.exp(images[key] @ texts[other] / 0.1) for other in others])
        by_image = np.mean([np.exp(images[other] @ texts[key] / 0.1) for other in others])
        expected = 2 * images[key] @ texts[key] / 0.1 - np.log(by_caption) - np.log(by_image)
        assert score == pytest.approx(expected, rel=1e-3, abs=1e-3)
    ledger = ledger_rows(tmp_path / "out/reduced")
    assert all(row["alignment"] == found[key] for key, row in ledger.items() if key in found)


def test_tables_give_the_scores_of_arrays(reduced, embedded, tmp_path):
    keys = {"task": "tldr_score", "alignment": "given"}
    reduced(**keys, embeddings=embedded.files)
    expected = scored(tmp_path / "out")
    columns = {"key": embedded.keys, "image": embedded.images.tolist(), "text": embedded.texts.tolist()}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet", row_group_size=10)
    reduced(**keys, output=tmp_path / "by_table", embeddings={"tables": str(tmp_path / "table.parquet")})
    assert scored(tmp_path / "by_table") == expected


def test_cosines_and_ready_scores(reduced, embedded, tmp_path):
    keys = {"task": "tldr_score", "alignment": "given"}
    reduced(**keys, output=tmp_path / "cosine", embeddings=embedded.files, given_score="cosine")
    found = scored(tmp_path / "cosine")
    cosines = dict(zip(embedded.keys, (unit(embedded.images) * unit(embedded.texts)).sum(1).tolist(), strict=True))
    assert found == pytest.approx({key: cosines[key] for key in found}, abs=1e-6)
    ready = pa.table({"key": embedded.keys, "clip": [cosines[key] for key in embedded.keys]})
    pq.write_table(ready, tmp_path / "ready.parquet")
    files = {"scores": str(tmp_path / "ready.parquet"), "column": "clip"}
    reduced(**keys, output=tmp_path / "ready", embeddings=files)
    assert scored(tmp_path / "ready") == pytest.approx(found, abs=1e-6)


def test_a_pair_without_embedding_is_unscored_and_one_without_row_an_error(reduced, embedded, tmp_path):
    keys = {"alignment": "given", "embeddings": embedded.files, "selection": "aligned", "recipe": "original"}
    images = embedded.images.copy()
    gone = [key for key in embedded.keys if key != "of no pair"][:3]
    images[[embedded.keys.index(key) for key in gone]] = np.nan
    np.save(tmp_path / "i.npy", images)
    reduced(**keys, keep_ratio=0.9)
    found = scored(tmp_path / "out")
    assert {key for key, score in found.items() if np.isnan(score)} == set(gone)
    rows = embedded.keys
    renamed = [f"no {key}" if key in gone else key for key in rows]
    (tmp_path / "k.txt").write_text("\n".join(renamed))
    with pytest.raises(ValueError, match=rf"lacks 3 of the source's usable pairs \(first: '{min(gone)}'\)"):
        reduced(**keys, output=tmp_path / "other")
    (tmp_path / "k.txt").write_text("\n".join([*rows[:-1], rows[0]]))
    with pytest.raises(ValueError, match=rf"1 rows have a key that came before \(first: '{rows[0]}'\)"):
        reduced(**keys, output=tmp_path / "another")


def test_given_scores_mix(clean, embedded, tmp_path):
    keys = {"alignment": "mixture", "mixture": {"given": 1, "normsim": 1}, "normsim_of": "image"}
    reduce_set(clean.write(**keys, embeddings=embedded.files, selection="aligned", recipe="original"))
    rows = ledger_rows(tmp_path / "out/reduced")
    assert sum(np.isfinite(row["alignment"]) for row in rows.values()) == 43


def test_stand_ins_are_scored_as_the_rest_was(clean, bert, tmp_path, quick_heads):
    """A repair has neither the pairs known to be right nor the source."""
    keys = FITTED | {"mixture_of": ["contrastive", "likelihood", "normsim"], "recipe": "gated", **bert}
    reduce_set(clean.write(**keys, keep_ratio=0.5, images="in_place"))
    assert open_run(tmp_path / "out").repair()["lost"] == 0
