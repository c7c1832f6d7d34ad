"""The pretraining learns its pairs, by the ITM scores that retrieval ranks by."""

from types import SimpleNamespace

import torch

from lavis_tldr.models.blip.pretrain import BlipPretrainTLDR

NUM_PAIRS, NUM_STEPS, WARMUP_STEPS = 16, 90, 20


def fit(model: BlipPretrainTLDR, images: torch.Tensor, captions: list[str]) -> BlipPretrainTLDR:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for step in range(NUM_STEPS):
        optimizer.param_groups[0]["lr"] = 1e-3 * min((step + 1) / WARMUP_STEPS, 1)
        samples = {"image": images, "text_input": captions, "epoch": 0, "iters": step, "num_iters_per_epoch": NUM_STEPS}
        optimizer.zero_grad()
        model(samples)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


class Pairs(list):
    """A retrieval set as LAVIS's evaluation takes it, and its own loader."""

    def __init__(self, images, captions):
        super().__init__([{"image": images}])
        self.dataset = SimpleNamespace(text=captions, image=list(range(len(images))))


@torch.no_grad()
def test_overfits_16_pairs(build):
    images = torch.randn(NUM_PAIRS, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    captions = [f"{word} {i}" for i, word in enumerate(["kite", "dog", "boat", "tree"] * (NUM_PAIRS // 4))]
    model = build(queue_size=NUM_PAIRS, alpha=0.0, momentum=0.9, dropout=0.0)
    with torch.enable_grad():
        fit(model, images, captions)
    pairs = Pairs(images, captions)
    of_images, of_texts = model.compute_sim_matrix(pairs, SimpleNamespace(k_test=NUM_PAIRS))
    own = list(range(NUM_PAIRS))
    assert of_images.argmax(1).tolist() == own and of_texts.argmax(1).tolist() == own
