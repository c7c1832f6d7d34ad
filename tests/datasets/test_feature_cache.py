import pickle

import numpy as np
import pytest

from lavis_tldr.datasets.feature_cache import FeatureCache


def features(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4, 3)).astype(np.float32)


def test_features_come_back_by_key(tmp_path):
    cache = FeatureCache(tmp_path / "cache", "encoder a")
    first, second = features(2), features(1, seed=1)
    cache.add(["b", "a"], first)
    cache.add(["c"], second)
    for found in (cache, FeatureCache(tmp_path / "cache", "encoder a")):
        assert np.array_equal(found["a"], first[1].astype(np.float16))
        assert np.array_equal(found["b"], first[0].astype(np.float16))
        assert np.array_equal(found["c"], second[0].astype(np.float16))
        assert "a" in found and "d" not in found


def test_missing_keys_once_each_in_order(tmp_path):
    cache = FeatureCache(tmp_path, "encoder a")
    cache.add(["b"], features(1))
    assert cache.missing(["c", "b", "a", "c"]) == ["c", "a"]


def test_features_of_another_encoder_are_refused(tmp_path):
    FeatureCache(tmp_path, "encoder a")
    with pytest.raises(ValueError, match="another encoder .encoder a; this one is encoder b.*Delete the folder"):
        FeatureCache(tmp_path, "encoder b")


def test_an_interrupted_write_is_forgotten(tmp_path):
    cache = FeatureCache(tmp_path, "encoder a")
    cache.add(["a"], features(1))
    (tmp_path / "00001.npy").write_bytes(b"whole or not, its keys were never written")
    (tmp_path / ".tmp-killed.json").write_text('["b"')
    again = FeatureCache(tmp_path, "encoder a")
    assert again.missing(["a", "b"]) == ["b"]
    again.add(["b"], features(1, seed=2))
    assert np.array_equal(FeatureCache(tmp_path, "encoder a")["b"], features(1, seed=2)[0].astype(np.float16))


def test_workers_open_their_own_files(tmp_path):
    cache = FeatureCache(tmp_path, "encoder a")
    cache.add(["a"], features(1))
    assert isinstance(cache["a"].base, np.memmap) or isinstance(cache["a"], np.memmap)
    sent = pickle.dumps(cache)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent)["a"], cache["a"])


def test_a_pickle_is_never_loaded(tmp_path):
    cache = FeatureCache(tmp_path, "encoder a")
    cache.add(["a"], features(1))
    np.save(tmp_path / "00000.npy", np.array([{"code": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="[Pp]ickle|Python objects"):
        FeatureCache(tmp_path, "encoder a")["a"]


def test_one_row_a_key(tmp_path):
    with pytest.raises(ValueError, match="2 rows of features for 1 keys"):
        FeatureCache(tmp_path, "encoder a").add(["a"], features(2))
