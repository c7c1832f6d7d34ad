"""Retrieval by a ViLT, scored by LAVIS's own task."""

import numpy as np
import pytest
import torch
from lavis.common.registry import registry
from lavis.tasks.retrieval import RetrievalTask
from torch.utils.data import DataLoader, Dataset
from vilts import CAPTIONS, pairs, save, tiny_vilt

from lavis_tldr.models.vilt import scoring


class RetrievalSet(Dataset):
    """As LAVIS's RetrievalEvalDataset: images, texts, and which belong together."""

    def __init__(self, image, text, txt2img):
        self.image, self.text = image, text
        self.txt2img = dict(enumerate(txt2img))
        self.img2txt = {i: [t for t, own in self.txt2img.items() if own == i] for i in range(len(image))}

    def __len__(self):
        return len(self.image)

    def __getitem__(self, index):
        return {"image": self.image[index], "index": index}


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.mapping["paths"], "output_dir", str(tmp_path))
    return lambda model, loader: RetrievalTask(cfg={"k_test": 4}).evaluation(model.eval(), loader)


def test_a_pretraining_that_fits_finds_all_both_ways(fitted, tmp_path, evaluate):
    model = tiny_vilt(tmp_path, "vilt_retrieval", seed=9, load_pretrained=True, pretrained=fitted.checkpoint)
    loader = DataLoader(RetrievalSet(fitted.image, fitted.captions, range(16)), batch_size=5, shuffle=True)
    result = evaluate(model, loader)
    assert (result["txt_r1"], result["img_r1"]) == (100, 100)


def test_permuted_captions_are_at_chance(fitted, tmp_path, evaluate):
    """Each caption in another's place: right are those that stayed, as of 16 at random one would."""
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1)).tolist()
    stayed = sum(place == caption for place, caption in enumerate(order))
    texts = [fitted.captions[i] for i in order]
    model = tiny_vilt(tmp_path, "vilt_retrieval", load_pretrained=True, pretrained=fitted.checkpoint)
    wrong = evaluate(model, DataLoader(RetrievalSet(fitted.image, texts, range(16)), batch_size=8))
    assert wrong["txt_r1"] == wrong["img_r1"] == 100 * stayed / 16 <= 100 * 3 / 16
    right = evaluate(model, DataLoader(RetrievalSet(fitted.image, texts, order), batch_size=8))
    assert (right["txt_r1"], right["img_r1"]) == (100, 100)


@pytest.mark.parametrize("pairs_per_pass", [1, 4, 7, 100])
def test_matrix_holds_each_pairs_own_score(tmp_path, pairs_per_pass):
    """Whatever the blocks, against one pair at a time; more texts than images, in the loader's own order."""
    model = tiny_vilt(tmp_path, "vilt_retrieval", pairs_per_pass=pairs_per_pass).eval()
    image = pairs(3)["image"]
    loader = DataLoader(RetrievalSet(image, CAPTIONS, [0, 0, 0, 1, 1, 2]), batch_size=2, shuffle=True)
    i2t, t2i = model.compute_sim_matrix(loader, task_cfg={})
    with torch.no_grad():
        one_by_one = [
            [model.score(*model.tokenize([text]), *model.embed_image({"image": one[None]})).item() for text in CAPTIONS]
            for one in image
        ]
    assert i2t.shape == (3, 6) and isinstance(i2t, np.ndarray)
    np.testing.assert_allclose(i2t, one_by_one, atol=1e-5)
    np.testing.assert_array_equal(t2i, i2t.T)


@pytest.mark.parametrize("world_size", [2, 5])
def test_ranks_share_the_pairs(tmp_path, monkeypatch, world_size):
    """What the ranks score adds up to what one scores; of five, two have no image of three."""
    model = tiny_vilt(tmp_path, "vilt_retrieval").eval()
    image, _ = model.embed_image(pairs(3))
    alone = model.score_all_ranks(image, None, CAPTIONS, "")
    monkeypatch.setattr(scoring, "get_world_size", lambda: world_size)
    monkeypatch.setattr(scoring, "all_reduce", lambda tensor: tensor)
    parts = []
    for rank in range(world_size):
        monkeypatch.setattr(scoring, "get_rank", lambda rank=rank: rank)
        parts.append(model.score_all_ranks(image, None, CAPTIONS, ""))
        assert (parts[-1] != 0).any(1).tolist() == [i % world_size == rank for i in range(3)]
    torch.testing.assert_close(sum(parts), alone)


def test_a_loader_that_gives_a_part_is_refused(tmp_path):
    model = tiny_vilt(tmp_path, "vilt_retrieval").eval()
    loader = DataLoader(RetrievalSet(pairs(4)["image"], CAPTIONS[:4], range(4)), batch_size=2, sampler=[0, 1, 1])
    with pytest.raises(ValueError, match=r"gave 3 images \(2 different\) of 4.*use_dist_eval_sampler: False"):
        model.compute_sim_matrix(loader)


def test_the_score_starts_as_the_match_row(tmp_path):
    pretrained = tiny_vilt(tmp_path)
    path = save(pretrained, tmp_path / "a.pth")
    model = tiny_vilt(tmp_path, "vilt_retrieval", seed=1, load_pretrained=True, pretrained=path)
    assert torch.equal(model.rank_output.weight, pretrained.itm_score.fc.weight[1:])
    assert torch.equal(model.rank_output.bias, pretrained.itm_score.fc.bias[1:])


def test_candidates_are_other_images_texts():
    # Images 0, 1, 0, 2, 3; the last two texts read the same.
    ids, image_id = torch.tensor([[5], [6], [7], [8], [8]]), torch.tensor([0, 1, 0, 2, 3])
    may = {0: {1, 3, 4}, 1: {0, 2, 3, 4}, 2: {1, 3, 4}, 3: {0, 1, 2}, 4: {0, 1, 2}}
    folder_free = object.__new__(registry.get_model_class("vilt_retrieval"))
    torch.nn.Module.__init__(folder_free)
    for num_negatives, counts in ((2, [2] * 5), (15, [3, 4, 3, 3, 3])):
        folder_free.num_negatives = num_negatives
        drawn = {i: set() for i in may}
        for seed in range(40):
            torch.manual_seed(seed)
            rows, allowed = folder_free.draw_candidates(ids, image_id)
            assert rows[:, 0].tolist() == [0, 1, 2, 3, 4] and allowed[:, 0].all()
            for i in may:
                others = rows[i, 1:][allowed[i, 1:]].tolist()
                assert len(set(others)) == len(others) == counts[i]
                drawn[i] |= set(others)
        assert drawn == may


def test_fine_tuning_learns_and_reaches_every_parameter(tmp_path):
    model = tiny_vilt(tmp_path, "vilt_retrieval", num_negatives=2).train()
    samples = {**pairs(), "image_id": torch.arange(4)}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(60):
        out = model(samples)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        losses.append(out["loss"].item())
    # Three candidates: chance is ln 3 = 1.1.
    assert losses[0] > 0.7 and sum(losses[-5:]) / 5 < 0.2
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle == set()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"num_negatives": 0}, "model.num_negatives is 0"), ({"pairs_per_pass": 0}, "model.pairs_per_pass is 0")],
)
def test_bad_settings(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        tiny_vilt(tmp_path, "vilt_retrieval", **change)


def test_a_single_pair_has_no_negatives(tmp_path):
    with pytest.raises(ValueError, match="a single pair; use 2 or more"):
        tiny_vilt(tmp_path, "vilt_retrieval")(pairs(1))
