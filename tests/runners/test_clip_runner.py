"""`clip_pretrain` through the plugin's runner and LAVIS's task, and back from the checkpoint that it writes."""

import torch
from lavis.tasks import ImageTextPretrainTask
from omegaconf import OmegaConf
from torch.utils.data import Dataset, default_collate
from toy_slope import make_runner

from lavis_tldr.models.clip_pretrain import ClipPretrain
from lavis_tldr.models.wordpiece_training import train_vocabulary

TEXTS = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("kite", "dog", "house", "boat")]


class Pairs(Dataset):
    """Random images with a text each."""

    def __init__(self):
        self.images = torch.randn(len(TEXTS), 3, 32, 32, generator=torch.Generator().manual_seed(0))
        self.collater = default_collate

    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, index):
        return {"image": self.images[index], "text_input": TEXTS[index]}


def test_trains_and_loads_back(tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(train_vocabulary(TEXTS * 4, 80)) + "\n")
    default = OmegaConf.load(ClipPretrain.default_config_path("tiny")).model
    default.update(image_size=32, vocabulary=str(vocabulary), freeze_vit=True)

    def build(seed, **changes):
        torch.manual_seed(seed)
        return ClipPretrain.from_config(OmegaConf.merge(default, changes))

    model = build(0)
    weights = tmp_path / "vit.pth"
    torch.save(model.visual_encoder.state_dict(), weights)
    runner = make_runner(
        tmp_path,
        model,
        datasets={"pairs": {"train": Pairs()}},
        max_epoch=30,
        batch_size_train=8,
        init_lr=1e-3,
        min_lr=1e-3,
        valid_splits=[],
        test_splits=[],
    )
    runner.task = ImageTextPretrainTask()
    runner.train()
    path = tmp_path / "job/checkpoint_last.pth"
    assert not any(name.startswith("visual_encoder.") for name in torch.load(path, weights_only=True)["model"])
    again = build(1, vit_weights=str(weights), load_finetuned=True, finetuned=str(path)).eval()
    with torch.no_grad():
        pairs = again.encode_pairs(default_collate(list(Pairs())))
        expected = model.eval().encode_pairs(default_collate(list(Pairs())))
    assert torch.equal(pairs.image, expected.image)
    assert torch.equal(pairs.text, expected.text)
    assert (pairs.image @ pairs.text.T).argmax(1).tolist() == list(range(len(TEXTS)))
