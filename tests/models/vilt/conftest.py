"""A ViLT pretrained on 16 pairs until it knows them by heart, which several tests look at."""

from types import SimpleNamespace

import pytest
import torch
from vilts import save, tiny_vilt

from lavis_tldr.models.wordpiece_training import train_vocabulary

# Unlike each other. Of captions that differ in a word, each image's own text is among 15 that are nearly right, which a
# roll shows once in 15 steps: recall is then 70 to 100% where these have 100, with any seed tried.
PAIRS = [
    "a red kite over the sea",
    "two small dogs in the grass",
    "a house beside a tall tree",
    "a yellow boat on a lake",
    "an old man with a newspaper",
    "children playing football",
    "a train in the snow",
    "a cup of coffee and a book",
    "three sheep on a hill",
    "a woman riding a horse",
    "a plate of pasta",
    "an empty street at night",
    "a black cat asleep on a chair",
    "people dancing at a wedding",
    "a bridge across the river",
    "a bowl of green apples",
]


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """Model, checkpoint, images, captions, and the last step's figures; noise for images, 6 s on an idle core."""
    folder = tmp_path_factory.mktemp("fitted")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(train_vocabulary(PAIRS * 2, 150)) + "\n")
    model = tiny_vilt(folder, vocabulary=str(vocabulary), mask_share=0.3)
    image = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    steps = 300
    figures = []
    for step in range(steps):
        for group in optimizer.param_groups:  # 20 steps of warm-up, decay over the last 100
            group["lr"] = 1e-3 * min(1, (step + 1) / 20, (steps - step) / 100)
        out = model({"image": image, "text_input": PAIRS})
        optimizer.zero_grad()
        out["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        figures.append({name: value.item() for name, value in out.items()})
    return SimpleNamespace(
        model=model.eval(),
        checkpoint=save(model, folder / "fitted.pth"),
        image=image,
        captions=PAIRS,
        figures=figures,
    )
