"""ViLT with a contrastive head, which reads images and texts alone."""

import math

import pytest
import torch
from torch.utils.data import DataLoader
from vilts import CAPTIONS, pairs, save, tiny_vilt

from lavis_tldr.models.contrastive_loss import contrastive_loss


class Gallery(torch.utils.data.Dataset):
    text = CAPTIONS[:4]

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"image": pairs()["image"][index], "index": index}


@pytest.fixture
def model(tmp_path):
    return tiny_vilt(tmp_path, itc_width=16)


def embeddings(model, samples):
    return model.itc_image(*model.embed_image(samples)), model.itc_text(*model.tokenize(samples["text_input"]))


def test_its_loss_is_added_and_reaches_every_parameter(model):
    out = model.train()(pairs())
    image, text = embeddings(model, pairs())
    torch.testing.assert_close(out["loss_itc"], contrastive_loss(image, text, torch.tensor(1 / 0.07)))
    torch.testing.assert_close(out["loss"], out["loss_itm"] + out["loss_mlm"] + out["loss_itc"])
    out["loss"].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_padding_changes_no_embedding(model):
    model.eval()
    alone = torch.cat([model.itc_text(*model.tokenize([text])) for text in CAPTIONS])
    torch.testing.assert_close(model.itc_text(*model.tokenize(CAPTIONS)), alone, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(alone.norm(dim=1), torch.ones(len(CAPTIONS)))


def test_a_padded_images_padding_is_not_read(model):
    model.eval()
    mask = torch.ones(4, 32, 32)
    mask[0, :, 16:] = 0
    found = []
    for fill in (0.0, 7.0):
        image = pairs()["image"].clone()
        image[0, :, :, 16:] = fill
        found.append(model.itc_image(*model.embed_image({"image": image, "pixel_mask": mask})))
    torch.testing.assert_close(found[0], found[1])


def test_scale_stays_within_bounds_while_training(model):
    with torch.no_grad():
        model.itc.logit_scale.fill_(9.0)
    model.train()(pairs())
    assert model.itc.logit_scale.item() == pytest.approx(math.log(100))


def test_learns_to_find_all_pairs_by_cosine(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(Gallery(), batch_size=3, shuffle=True)
    for _ in range(40):
        optimizer.zero_grad()
        model.train()(pairs())["loss"].backward()
        optimizer.step()
    of_images, of_texts = model.eval().compute_sim_matrix(loader, task_cfg=None)
    assert (of_images.argmax(1).tolist(), of_texts.argmax(1).tolist()) == ([0, 1, 2, 3], [0, 1, 2, 3])
    image, text = embeddings(model, pairs())
    torch.testing.assert_close(torch.from_numpy(of_images), (image @ text.T).detach())


def test_without_a_head_it_says_how_to_validate(tmp_path):
    with pytest.raises(ValueError, match=r"set model\.itc_width, or evaluate the checkpoint as vilt_retrieval"):
        tiny_vilt(tmp_path).compute_sim_matrix(None)


def test_retrieval_takes_it_from_the_checkpoint_and_trains_it_on(model, tmp_path):
    loading = {"load_pretrained": True, "pretrained": save(model, tmp_path / "with.pth")}
    retrieval = tiny_vilt(tmp_path, "vilt_retrieval", seed=3, **loading)
    for ours, theirs in zip(embeddings(retrieval.eval(), pairs()), embeddings(model.eval(), pairs()), strict=True):
        torch.testing.assert_close(ours, theirs)
    out = retrieval.train()(pairs())
    out["loss"].backward()
    assert out["loss"] > out["loss_itc"] > 0
    assert [name for name, parameter in retrieval.named_parameters() if parameter.grad is None] == []
    # and it goes on from where it was
    saved = save(retrieval, tmp_path / "tuned.pth")
    again = tiny_vilt(tmp_path, "vilt_retrieval", seed=4, load_finetuned=True, finetuned=saved)
    assert torch.equal(again.itc.image_proj.weight, retrieval.itc.image_proj.weight)


def test_other_heads_leave_it_out(model, tmp_path):
    loading = {"load_pretrained": True, "pretrained": save(model, tmp_path / "with.pth")}
    assert tiny_vilt(tmp_path, "vilt_nlvr", **loading).itc is None
