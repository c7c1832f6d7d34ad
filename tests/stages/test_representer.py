"""What is clustered, stage by stage, against the vectors themselves."""

from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hostile_set import Sample, write_tar
from reductions import write_bert

from lavis_tldr.models.sentence_encoder import SentenceEncoder


@pytest.fixture
def bert(tmp_path):
    return write_bert(tmp_path / "bert")


def usable(run):
    """Rows of encode without error, by key."""
    rows = [row for path in sorted(run.glob("encode/*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["key"]: row for row in rows if not row["error"]}


def clusters(run, variant):
    """Cluster and distance of each sample, by key, and the centroids."""
    folder = run / "cluster" / variant
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["key"]: (row["cluster"], row["distance"]) for row in rows}, np.load(folder / "centroids.npy")


def assert_nearest(found, centroids, vectors):
    """Each sample lies in the cluster whose centroid is nearest to its vector."""
    assert set(found) == set(vectors)
    for key, (cluster, distance) in found.items():
        distances = ((centroids - vectors[key]) ** 2).sum(1)
        assert distance == pytest.approx(distances[cluster], abs=1e-5)
        assert distances[cluster] <= distances.min() + 1e-6


def test_mean_patch_features_are_clustered_l2_normalised(reduced, tmp_path):
    reduced(stages=["encode", "cluster"], representation="feature")
    # 32 of the patches, 32 of [CLS].
    vectors = {key: np.array(row["feature"][:32], np.float32) for key, row in usable(tmp_path / "out").items()}
    vectors = {key: vector / np.linalg.norm(vector) for key, vector in vectors.items()}
    found, centroids = clusters(tmp_path / "out", "feature-4-seed42")
    assert_nearest(found, centroids, vectors)
    # Not one cluster for all: the centroids are means of what lies in them.
    assert len({cluster for cluster, _ in found.values()}) == 4
    for number, centroid in enumerate(centroids):
        members = [vectors[key] for key, (cluster, _) in found.items() if cluster == number]
        np.testing.assert_allclose(centroid, np.mean(members, 0), atol=1e-2)


def test_captions_are_clustered_by_their_sentence_embeddings(reduced, bert, tmp_path):
    reduced(stages=["encode", "cluster"], representation="text", similarity_weights=str(bert))
    rows = usable(tmp_path / "out")
    embedded = SentenceEncoder(str(bert))([row["caption_original"] for row in rows.values()]).numpy()
    found, centroids = clusters(tmp_path / "out", "text-4-seed42")
    assert_nearest(found, centroids, dict(zip(rows, embedded, strict=True)))


def test_another_bert_is_another_clustering(reduced, bert, tmp_path):
    keys = {"stages": ["encode", "cluster"], "representation": "text"}
    reduced(**keys, similarity_weights=str(bert))
    with pytest.raises(ValueError, match=r"made otherwise.*\n.*sentence encoder"):
        reduced(**keys, similarity_weights=str(write_bert(tmp_path / "other", seed=1)))


@pytest.mark.parametrize("representation", ["feature", "text"])
def test_clusters_do_not_depend_on_the_parts(reduced, album, bert, tmp_path, representation):
    keys = {"representation": representation, "similarity_weights": str(bert), "stages": ["encode", "cluster"]}
    found = {}
    for part_size in (5, 100):
        of = SimpleNamespace(source=album.source | {"part_size": part_size}, captioner=album.captioner)
        reduced(of=of, output=tmp_path / str(part_size), **keys)
        found[part_size], _ = clusters(tmp_path / str(part_size), f"{representation}-4-seed42")
    assert len(found[5]) == 36
    assert found[5] == {key: (cluster, pytest.approx(far, abs=1e-5)) for key, (cluster, far) in found[100].items()}


def test_text_without_a_bert_is_refused_at_once(reduced, tmp_path):
    with pytest.raises(ValueError, match=r"representation text clusters captions.*set run\.similarity_weights"):
        reduced(representation="text")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("representation", ["feature", "text"])
def test_a_part_may_have_nothing_usable(reduced, pool, bert, tmp_path, representation):
    write_tar(tmp_path / "damaged.tar", [Sample("9.jpg", b"no image", b"a caption")])
    tars = [pool.source["tars"], str(tmp_path / "damaged.tar")]
    of = SimpleNamespace(source=pool.source | {"tars": tars}, captioner=pool.captioner)
    keys = {"representation": representation, "similarity_weights": str(bert)}
    figures = reduced(of=of, stages=["encode", "cluster"], **keys)
    assert figures["stages"]["encode"]["counts"]["failed"] == 6
    assert figures["stages"]["cluster"]["counts"]["read"] == 43
