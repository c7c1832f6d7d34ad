"""Embeddings that a user has: found by key, wherever they lie."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lavis_tldr.sources import embeddings
from lavis_tldr.sources.embeddings import KeyIndex, open_embeddings

KEYS = ["b", "a/ä", "c d"]
IMAGES = np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan]], np.float32)
TEXTS = -IMAGES


@pytest.fixture
def arrays(tmp_path):
    """Files of `IMAGES`, `TEXTS` and `KEYS`."""
    np.save(tmp_path / "images.npy", IMAGES.astype(np.float16))
    np.savez(tmp_path / "texts.npz", TEXTS)
    (tmp_path / "keys.txt").write_text("\n".join(KEYS) + "\n", encoding="utf-8")
    names = {"images": "images.npy", "texts": "texts.npz", "keys": "keys.txt"}
    return {name: str(tmp_path / path) for name, path in names.items()}


def write_tables(folder, kind=pa.list_, **names):
    """The same in two tables with a row group a row."""
    for number, rows in enumerate(([0, 1], [2])):
        values = {"key": [KEYS[i] for i in rows]}
        for name, found in (("image", IMAGES), ("text", TEXTS)):
            # Arrow reads no Parquet with nulls among lists of fixed size.
            nulls = not pa.types.is_fixed_size_list(kind)
            lists = [None if nulls and np.isnan(found[i]).any() else found[i].tolist() for i in rows]
            values[names.get(name, name)] = pa.array(lists, kind)
        pq.write_table(pa.table(values), folder / f"{number}.parquet", row_group_size=1)
    return str(folder / "*.parquet")


def check(found):
    rows = found.find(["c d", "nowhere", "b", "a/ä"])
    assert rows.tolist() == [2, -1, 0, 1]
    taken = found.take(rows[[0, 2, 3]])
    np.testing.assert_array_equal(taken["images"], IMAGES[[2, 0, 1]])
    np.testing.assert_array_equal(taken["texts"], TEXTS[[2, 0, 1]])
    assert taken["images"].dtype == np.float32
    assert found.take(rows[:0])["texts"].shape == (0, 2)


def test_arrays(arrays):
    check(open_embeddings(arrays))


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float16(), 2), pa.large_list(pa.float64())], ids=str
)
def test_tables(tmp_path, kind):
    check(open_embeddings({"tables": write_tables(tmp_path, kind)}))


def test_columns_of_other_names(tmp_path):
    tables = write_tables(tmp_path, pa.list_(pa.float32()), image="vit", text="bert")
    check(open_embeddings({"tables": tables, "image": "vit", "text": "bert"}))
    with pytest.raises(ValueError, match=r"0\.parquet has no column 'image' \(known: bert, key, vit\)"):
        open_embeddings({"tables": tables, "text": "bert"})


def test_ready_scores(tmp_path):
    table = pa.table({"uid": KEYS, "clip": pa.array([0.5, None, 2.0])})
    pq.write_table(table, tmp_path / "scores.parquet")
    found = open_embeddings({"scores": str(tmp_path / "scores.parquet"), "column": "clip", "key": "uid"})
    assert found.names == ("scores",)
    np.testing.assert_array_equal(found.take(found.find(["a/ä", "c d"]))["scores"], np.float32([np.nan, 2.0]))


def test_the_digest_is_the_contents(arrays, tmp_path):
    before = open_embeddings(arrays).digest
    assert open_embeddings(arrays).digest == before
    np.save(tmp_path / "images.npy", 2 * IMAGES.astype(np.float16))
    assert open_embeddings(arrays).digest != before


def test_doubled_keys_are_counted():
    with pytest.raises(ValueError, match="2 rows have a key that came before .first: 'b'"):
        KeyIndex(pa.array(["a", "b", "c", "b", "a"], pa.large_string()))


def test_keys_of_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(embeddings, "draw_priority", lambda keys, seed: np.zeros(len(keys), np.uint64))
    index = KeyIndex(pa.array(["a"], pa.large_string()))
    assert index.find(["b", "a"]).tolist() == [-1, 0]


def test_no_keys_at_all():
    assert KeyIndex(pa.array([], pa.large_string())).find(["a"]).tolist() == [-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": None}, "run.embeddings lacks 'texts'; with images it needs images, texts, keys"),
        ({"text": "x"}, "unknown key run.embeddings.text .did you mean 'texts'"),
        ({"keys": "no/such.txt"}, "run.embeddings.keys: there is no file .*no/such.txt"),
    ],
)
def test_settings_that_are_wrong(arrays, changes, message):
    with pytest.raises(ValueError, match=message):
        open_embeddings(arrays | changes)


def test_what_is_no_embedding_is_refused(arrays, tmp_path):
    with pytest.raises(ValueError, match=r"run.embeddings has \['files'\]; expected images, texts and keys"):
        open_embeddings({"files": "x"})
    (tmp_path / "keys.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"has the shape \(3, 2\); expected \(2, E\), a row for each key"):
        open_embeddings(arrays)
    np.save(tmp_path / "images.npy", np.zeros((2, 3)))
    np.savez(tmp_path / "texts.npz", np.zeros((2, 4)))
    with pytest.raises(ValueError, match="images have 3 numbers and texts 4"):
        open_embeddings(arrays)
    np.savez(tmp_path / "texts.npz", a=TEXTS, b=TEXTS)
    with pytest.raises(ValueError, match="holds the arrays a, b; expected one"):
        open_embeddings(arrays)
    (tmp_path / "images.npy").write_bytes(b"none")
    with pytest.raises(ValueError, match="images.npy is no array as NumPy saves it"):
        open_embeddings(arrays)


def test_tables_that_are_wrong(tmp_path):
    (tmp_path / "0.parquet").write_bytes(b"none")
    with pytest.raises(ValueError, match="0.parquet is no Parquet file"):
        open_embeddings({"tables": str(tmp_path / "0.parquet")})

    def taken(image, text):
        pq.write_table(pa.table({"key": ["a", "b"], "image": image, "text": text}), tmp_path / "0.parquet")
        return open_embeddings({"tables": str(tmp_path / "0.parquet")}).take(np.array([0]))

    with pytest.raises(ValueError, match="column 'image' of .* is no list of numbers: string"):
        taken(["x", "y"], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="column 'image' of .* has embeddings of 1 and of 2 numbers"):
        taken([[1.0], [1.0, 2.0]], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="embeddings of 2 numbers in column 'text', and 1 are expected"):
        taken([[1.0], [2.0]], [[1.0, 2.0], [2.0, 3.0]])
    with pytest.raises(ValueError, match="hold no embedding in column 'image'"):
        taken(pa.array([None, None], pa.list_(pa.float32())), [[1.0], [2.0]])
    pq.write_table(pa.table({"key": ["a"], "clip": ["high"]}), tmp_path / "0.parquet")
    with pytest.raises(ValueError, match="column 'clip' of .* is no number: string"):
        open_embeddings({"scores": str(tmp_path / "0.parquet"), "column": "clip"}).take(np.array([0]))
