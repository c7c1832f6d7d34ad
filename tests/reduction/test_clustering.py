import faiss
import numpy as np
import pytest

from lavis_tldr.reduction import clustering
from lavis_tldr.reduction.clustering import NearestCentroids, assign, fit_kmeans
from lavis_tldr.reduction.representation import represent


def planted_codes(num_classes=4, per_class=30, length=40, seed=0):
    """Images of a class draw their codes from ten codes of its own."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    codes = labels[:, None] * 10 + rng.integers(0, 10, (len(labels), length))
    return codes.astype(np.uint16), labels, num_classes * 10


def same_partition(first, second):
    """Whether two labellings group the rows alike, whatever the groups are called."""
    return np.array_equal(first[:, None] == first, second[:, None] == second)


def test_assign_by_hand():
    centroids = np.array([[0, 0], [4, 0], [0, 4]], dtype=np.float32)
    cluster_ids, distances = assign(np.array([[3, 1], [1, 2.5]], dtype=np.float32), centroids)
    # squared distances: (10, 2, 18) and (7.25, 15.25, 3.25)
    assert cluster_ids.tolist() == [1, 2] and cluster_ids.dtype == np.int32
    assert distances.tolist() == [2, 3.25] and distances.dtype == np.float32


def test_assign_ties_go_to_the_lower_id():
    centroids = np.array([[2, 0], [-2, 0], [-2, 0]], dtype=np.float32)
    cluster_ids, distances = assign(np.array([[0, 0], [-2, 0]], dtype=np.float32), centroids)
    assert cluster_ids.tolist() == [0, 1]
    assert distances.tolist() == [4, 0]


def test_assign_equals_a_naive_search_whatever_the_batch():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((57, 6)).astype(np.float32)
    centroids = rng.standard_normal((9, 6)).astype(np.float32)
    naive = ((features[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)
    for batch_size in (1, 10, 1000):
        cluster_ids, distances = assign(features, centroids, batch_size=batch_size)
        assert cluster_ids.tolist() == naive.argmin(axis=1).tolist()
        assert np.allclose(distances, naive.min(axis=1), rtol=1e-5)


def test_distances_keep_their_digits_far_from_the_origin():
    # norms near 1e7 leave float32 no digit for a distance of 1 if it is taken from norms and products
    features = np.array([[3000, 1000], [3001, 1000]], dtype=np.float32)
    cluster_ids, distances = assign(features, features)
    assert cluster_ids.tolist() == [0, 1] and distances.tolist() == [0, 0]


def test_assign_nothing():
    cluster_ids, distances = assign(np.empty((0, 2)), np.zeros((3, 2)))
    assert len(cluster_ids) == len(distances) == 0


def test_histograms_find_planted_classes():
    codes, labels, num_codes = planted_codes()
    features = represent(codes, "histogram", num_codes=num_codes)
    # Lloyd's algorithm may end in a poor optimum from one start; these classes are far enough apart for most.
    found = [same_partition(assign(features, fit_kmeans(features, 4, seed=s))[0], labels) for s in range(8)]
    assert any(found)


@pytest.mark.parametrize("tfidf", [False, True])
def test_renumbering_the_codes_changes_no_histogram_cluster(tfidf):
    # Also for codes without any structure, whose counts tie all the time
    noise = np.random.default_rng(9).integers(0, 50, (200, 12)).astype(np.uint16)
    for codes in (planted_codes()[0], noise):
        features = represent(codes, "histogram", num_codes=50, tfidf=tfidf)
        for seed in range(4):
            names = np.random.default_rng(seed).permutation(50).astype(np.uint16)
            renamed = represent(names[codes], "histogram", num_codes=50, tfidf=tfidf)
            cluster_ids, distances = assign(features, fit_kmeans(features, 12, seed=seed))
            renamed_ids, renamed_distances = assign(renamed, fit_kmeans(renamed, 12, seed=seed))
            assert cluster_ids.tolist() == renamed_ids.tolist()
            assert np.allclose(distances, renamed_distances, atol=1e-6)


def test_same_seed_same_centroids_also_with_more_threads():
    features = np.random.default_rng(2).standard_normal((500, 16)).astype(np.float32)
    threads = faiss.omp_get_max_threads()
    results = []
    try:
        for count in (1, 2, 1):
            faiss.omp_set_num_threads(count)
            centroids = fit_kmeans(features, 10, seed=5)
            results.append((centroids.tobytes(), *(r.tobytes() for r in assign(features, centroids))))
    finally:
        faiss.omp_set_num_threads(threads)
    assert results[0] == results[1] == results[2]
    assert fit_kmeans(features, 10, seed=6).tobytes() != results[0][0]


def test_fitting_leaves_numpys_global_randomness_alone():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    fit_kmeans(np.random.default_rng(0).random((20, 2)), 2, seed=0)
    assert np.random.random() == expected


def test_all_rows_count_however_many_a_cluster_has():
    # Faiss's default would fit on a sample of 256 rows a cluster; the mean of all is 1/1000
    features = np.zeros((1000, 1), dtype=np.float32)
    features[-1] = 1
    assert np.allclose(fit_kmeans(features, 1, seed=0), 1e-3)


def test_as_many_clusters_as_samples():
    features = np.array([[0, 0], [1, 0], [0, 5]], dtype=np.float32)
    cluster_ids, distances = assign(features, fit_kmeans(features, 3, seed=0))
    assert sorted(cluster_ids) == [0, 1, 2] and distances.tolist() == [0, 0, 0]


@pytest.mark.parametrize("num_clusters", [1, 2, 10, 21])
def test_doubled_rows_do_no_harm(num_clusters):
    features = np.repeat(np.eye(3, dtype=np.float32), 7, axis=0)
    centroids = fit_kmeans(features, num_clusters, seed=0)
    assert centroids.shape == (num_clusters, 3) and np.isfinite(centroids).all()
    cluster_ids, _ = assign(features, centroids)
    # equal rows stay together
    assert all(len(set(cluster_ids[i : i + 7])) == 1 for i in (0, 7, 14))


def test_one_sample():
    assert fit_kmeans(np.array([[2.0, 3.0]]), 1, seed=0).tolist() == [[2, 3]]


def test_faiss_stays_quiet(capfd):
    fit_kmeans(np.random.default_rng(0).random((20, 2)), 10, seed=0)
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def test_impossible_numbers_of_clusters():
    with pytest.raises(ValueError, match="only 3 usable samples.*Set num_clusters to 3 or less"):
        fit_kmeans(np.zeros((3, 2)), 4, seed=0)
    with pytest.raises(ValueError, match="only 0 usable samples"):
        fit_kmeans(np.zeros((0, 2)), 1, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        fit_kmeans(np.zeros((3, 2)), 0, seed=0)


def test_bad_features():
    with pytest.raises(ValueError, match=r"1 rows with NaN or infinity \(first: row 1\)"):
        fit_kmeans(np.array([[0.0], [np.nan]]), 1, seed=0)
    with pytest.raises(ValueError, match="representation that the centroids were fitted on"):
        assign(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="two dimensions"):
        assign(np.zeros(3), np.zeros((2, 4)))


class FakeGpu:
    """Stands for faiss with two GPUs: an index stays on the CPU, and says where it was asked for."""

    def __init__(self, monkeypatch):
        self.moved = []
        self.made = 0
        monkeypatch.setattr(clustering.faiss, "get_num_gpus", lambda: 2, raising=False)
        monkeypatch.setattr(clustering.faiss, "StandardGpuResources", self.resources, raising=False)
        monkeypatch.setattr(clustering.faiss, "index_cpu_to_gpu", self.move, raising=False)
        monkeypatch.setattr(clustering.faiss, "index_cpu_to_all_gpus", self.refuse, raising=False)

    def resources(self):
        self.made += 1
        return object()

    def move(self, resources, gpu, index):
        self.moved.append(gpu)
        return index

    def refuse(self, *_, **__):
        raise AssertionError("the GPUs of other processes were opened")


def test_only_the_gpu_that_is_named_is_opened_and_once_for_all_rows(monkeypatch):
    faked = FakeGpu(monkeypatch)
    features = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    centroids = fit_kmeans(features, 3, seed=0, gpu=1)
    assert faked.moved == [1]
    nearest = NearestCentroids(centroids, gpu=1)
    found = np.concatenate([nearest(block)[0] for block in np.split(features, 6)])
    assert faked.moved == [1, 1] and faked.made == 2
    assert found.tolist() == assign(features, fit_kmeans(features, 3, seed=0))[0].tolist()
    assert faked.made == 2  # without a GPU named, none is opened
