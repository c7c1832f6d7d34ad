import numpy as np
import pytest
from planted import draw_pairs

from lavis_tldr.advice import trainings
from lavis_tldr.advice.pool import Pool, Validation
from lavis_tldr.advice.selections import Candidates
from lavis_tldr.advice.trainings import TrainingOptions, hold_out, run_trainings
from lavis_tldr.reduction.selection import SelectionRule

RULE = SelectionRule(1.0, 7, num_clusters=4)
OPTIONS = TrainingOptions(num_seeds=3, epochs=2, num_held_out=60, batch_size=32)


def pool_of(num_pairs=800, scored=True) -> Pool:
    """Pairs, two and two of one image."""
    pairs = draw_pairs(num_pairs, 0.5)
    features = pairs.features.astype(np.float32)
    features[1::2] = features[::2]
    keys = [f"{row // 2:05}#{row % 2}" for row in range(num_pairs)]
    alignment = pairs.alignment if scored else np.full(num_pairs, np.nan, np.float32)
    candidates = Candidates(np.array(keys, object), pairs.clusters, alignment, np.ones(num_pairs, bool))
    images = np.array([key.split("#")[0] for key in keys], object)
    return Pool(candidates, images, pairs.captions, alignment, features)


@pytest.fixture
def trained(monkeypatch):
    """What every training was given: keys of images trained on, those scored on, steps, seed."""
    calls = []

    class Evaluator:
        def __init__(self, images, texts, scored):
            self.scored = [key for key, _, captions in scored for _ in captions]

        def __call__(self, pairs, options, seed):
            calls.append(([key for key, _ in pairs], self.scored, options.num_steps, seed))
            return {"mean_recall": float(len(pairs))}

    monkeypatch.setattr(trainings, "ProxyEvaluator", Evaluator)
    return calls


def test_nothing_trains_on_what_it_is_scored_on(trained):
    pool = pool_of()
    pool.features[4] = pool.features[100] + 1e-4  # images 2 and 50 are nearly the same
    found = run_trainings(pool, RULE, [0.2, 0.5], None, OPTIONS)
    assert len(trained) == 9 and [call[3] for call in trained] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len({call[2] for call in trained}) == 1 and found.num_steps == 50  # 2 * 800 / 32
    for keys, scored, *_ in trained:
        assert not set(keys) & set(scored) and len(scored) == 60
        assert not ("00002" in scored and "00050" in keys)
    # Others for every seed, the same for all sets of a seed.
    drawn = [frozenset(call[1]) for call in trained]
    assert len(set(drawn)) == 3 and drawn[0] == drawn[1] == drawn[2]
    for whole, small, half in (trained[i : i + 3] for i in (0, 3, 6)):
        assert len(small[0]) == round(0.2 * len(whole[0])) and len(half[0]) == round(0.5 * len(whole[0]))
    assert found.recalls[0.5] == [len(trained[i][0]) for i in (2, 5, 8)]
    assert found.whole == [len(trained[i][0]) for i in (0, 3, 6)]
    assert found.overlap == pytest.approx(60 / np.mean(found.whole))


def test_twins_of_what_is_held_out_are_left_out(trained):
    pool = pool_of()
    held = hold_out(pool, 60, seed=0)
    before = run_trainings(pool, RULE, [0.5], None, TrainingOptions(num_seeds=1, epochs=1, num_held_out=60)).num_whole
    free = next(row for row in range(0, 800, 2) if row not in held and row + 1 not in held)
    pool.features[[free, free + 1]] = pool.features[held[0]]
    after = run_trainings(pool, RULE, [0.5], None, TrainingOptions(num_seeds=1, epochs=1, num_held_out=60)).num_whole
    assert after == before - 2


def test_what_is_held_out():
    pool = pool_of()  # half of it right, and aligned above 0
    rows = hold_out(pool, 60, seed=0)
    assert len(rows) == 60 and 10 < (pool.alignment[rows] > 0).sum() < 50
    assert not np.array_equal(rows, hold_out(pool, 60, seed=1))
    assert len(hold_out(pool, 1000, seed=0)) == 80  # a tenth
    assert (pool.alignment[hold_out(pool, 60, seed=0, trusted_share=0.5)] > 0).all()
    with pytest.raises(ValueError, match=r"800 drawn pairs \(40 of them trusted\)"):
        hold_out(pool, 60, seed=0, trusted_share=0.05)
    with pytest.raises(ValueError, match="--trusted is 0.5, but the reduced set has scored no captions"):
        hold_out(pool_of(scored=False), 60, seed=0, trusted_share=0.5)


def test_a_set_apart_leaves_all_to_train_on(trained):
    pool = pool_of()
    apart = Validation(-pool.features[:50], ["x"] * 50, np.arange(50))
    found = run_trainings(pool, RULE, [0.5], None, OPTIONS, apart)
    assert found.num_whole == 800 and found.overlap == 0 and found.num_held_out == 50
    # Images nearly the same as one of it are still left out, here all those of the first 50 pairs.
    found = run_trainings(pool, RULE, [0.5], None, OPTIONS, Validation(pool.features[:50], ["x"] * 50, np.arange(50)))
    assert found.num_whole == 750


def test_ratios_too_small_for_a_batch_are_left_out(trained):
    found = run_trainings(pool_of(), RULE, [0.01, 0.5], None, OPTIONS)
    assert found.too_small == [0.01] and list(found.recalls) == [0.5]
