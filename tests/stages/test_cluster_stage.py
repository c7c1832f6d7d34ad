"""What the stage cluster writes beside the clusters: distances to the prototypes, and how wide clusters are."""

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from coded_sets import NUM_CODES, WIDTH, drawn_codes, kept_keys


@pytest.fixture
def clustered(tmp_path):
    """The stage's folder over drawn codes, and a function that opens it again."""
    rng = np.random.default_rng(5)
    codes, codebook = drawn_codes(rng), rng.normal(size=(NUM_CODES, WIDTH)).astype(np.float32)
    again = lambda: kept_keys(tmp_path, codes, codebook, selections=({},), representation="embedding")  # noqa: E731
    again()
    return tmp_path / "cluster/embedding-6-seed42", codebook[codes].mean(1), again


def test_distances_and_spreads(clustered):
    folder, features, _ = clustered
    centroids, sizes, spreads = (np.load(folder / f"{name}.npy") for name in ("centroids", "sizes", "spreads"))
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    members = {cluster: [] for cluster in range(6)}
    for row in rows:
        feature, own = features[int(row["key"][1:])].astype(float), centroids[row["cluster"]].astype(float)
        cosine = math.fsum(feature * own) / math.hypot(*feature) / math.hypot(*own)
        assert row["prototype_distance"] == pytest.approx(1 - cosine, abs=1e-6)
        members[row["cluster"]].append(row["prototype_distance"])
    assert sizes.tolist() == [len(members[cluster]) for cluster in range(6)]
    assert spreads.tolist() == pytest.approx([sum(own) / len(own) if own else 0 for own in members.values()])


def test_clusters_of_an_earlier_version_are_refused(clustered):
    folder, _, again = clustered
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["config"]["prototype_distance"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ValueError, match="stage cluster.* was made otherwise.*\n.*prototype_distance.*\n.*--restart cluster"
    ):
        again()
