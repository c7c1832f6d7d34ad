"""The pretraining learns its pairs, and two processes give the mean of their shards' gradients."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lavis.models.blip_models.blip import BlipBase
from torch.nn.parallel import DistributedDataParallel

NUM_PAIRS, NUM_STEPS, WARMUP_STEPS = 16, 200, 20


def itm_scores(model, images, captions) -> torch.Tensor:
    """Matching logit of every image with every caption by LAVIS's own passes, (images, captions)."""
    tokens = model.visual_encoder(images)
    text = model.tokenizer(captions, padding="longest", return_tensors="pt")
    ids = text.input_ids.clone()
    ids[:, 0] = model.tokenizer.enc_token_id
    rows = []
    for image in tokens:
        image = image.expand(len(captions), -1, -1)
        atts = torch.ones(image.shape[:2], dtype=torch.long)
        fused = model.text_encoder(ids, text.attention_mask, encoder_hidden_states=image, encoder_attention_mask=atts)
        rows.append(model.itm_head(fused.last_hidden_state[:, 0])[:, 1])
    return torch.stack(rows)


def test_overfits_16_pairs(build):
    assert issubclass(type(model := build(queue_size=NUM_PAIRS, alpha=0.0, momentum=0.9)), BlipBase)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(NUM_PAIRS, 3, 32, 32, generator=generator)
    captions = [f"{word} {i}" for i, word in enumerate(["kite", "dog", "boat", "tree"] * (NUM_PAIRS // 4))]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for step in range(NUM_STEPS):
        optimizer.param_groups[0]["lr"] = 1e-3 * min((step + 1) / WARMUP_STEPS, 1)
        output = model({"image": images, "text_input": captions, "epoch": 0, "iters": step, "num_iters_per_epoch": 200})
        optimizer.zero_grad()
        output["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0: print(step, {k: round(v.item(), 3) for k, v in output.items()})
    with torch.no_grad():
        scores = itm_scores(model.eval(), images, captions)
    own = torch.arange(NUM_PAIRS)
    assert torch.equal(scores.argmax(1), own) and torch.equal(scores.argmax(0), own)
