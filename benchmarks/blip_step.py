"""A step of `blip_pretrain_tldr` with `fast` against LAVIS's own BlipPretrain: the ratio of their times.

    python benchmarks/blip_step.py                                    # a small BLIP, on the CPU
    python benchmarks/blip_step.py --model-type base --batch-size 64 --device cuda --bf16

Both have the same weights, batch and dropout, and alternate, so that what else the machine does falls on both. A step
is forward and backward; the optimizer's part is the same for both. The first step of each is not counted.
"""

import argparse
import contextlib
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch
from lavis.models.blip_models.blip_pretrain import BlipPretrain
from omegaconf import OmegaConf

from lavis_tldr.models.blip.config import read_config
from lavis_tldr.models.blip.image_tower import build_image_tower
from lavis_tldr.models.blip.pretrain import BlipPretrainTLDR
from lavis_tldr.models.blip.text_towers import build_text_towers
from lavis_tldr.models.wordpiece_training import SPECIAL_TOKENS

WORDS_A_CAPTION = (6, 18)  # as captions from the web have


def build_both(model_type: str, vocabulary: Path, queue_size: int) -> tuple[BlipPretrain, BlipPretrainTLDR]:
    """Stock's model and ours, with equal weights."""
    default = OmegaConf.load(BlipPretrainTLDR.default_config_path(model_type)).model
    own = {"vocabulary": str(vocabulary), "text_weights": None, "freeze_vit": False, "queue_size": queue_size}
    config = OmegaConf.merge(default, own)
    fast = BlipPretrainTLDR.from_config(config)

    class Stock(BlipPretrain):
        def init_tokenizer(self):
            return fast.tokenizer

    values = read_config(OmegaConf.merge(config, {"fast": False}))
    options = {name: values[name] for name in ("queue_size", "alpha", "embed_dim", "momentum", "max_txt_len")}
    stock = Stock(build_image_tower(values), *build_text_towers(values, len(fast.tokenizer)), **options)
    stock.load_state_dict(fast.state_dict())
    return stock, fast


def draw_batch(model: BlipPretrain, words: list[str], batch_size: int, device: str) -> dict:
    draw = random.Random(0)
    captions = [" ".join(draw.choices(words, k=draw.randint(*WORDS_A_CAPTION))) for _ in range(batch_size)]
    images = torch.randn(batch_size, 3, *model.visual_encoder.patch_embed.img_size, device=device)
    return {"image": images, "text_input": captions, "epoch": 0, "iters": 1, "num_iters_per_epoch": 10}


def seconds_of_step(model: BlipPretrain, batch: dict, device: str, bf16: bool) -> float:
    model.zero_grad(set_to_none=True)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        loss = model(dict(batch))["loss"]
    loss.backward()
    wait()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-type", default="small", choices=list(BlipPretrainTLDR.PRETRAINED_MODEL_CONFIG_DICT))
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--queue-size", type=int, default=1024, help="a multiple of the batch")
    parser.add_argument("--num-words", type=int, default=30522, help="of the vocabulary")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--bf16", action="store_true", help="under bfloat16 autocast")
    args = parser.parse_args()
    torch.manual_seed(0)
    words = [f"w{i}" for i in range(args.num_words - len(SPECIAL_TOKENS))]
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        vocabulary = Path(folder) / "vocab.txt"
        vocabulary.write_text("\n".join([*SPECIAL_TOKENS, *words]) + "\n")
        with contextlib.redirect_stdout(nowhere):  # stock prints each weight that it ties
            models = [m.to(args.device).train() for m in build_both(args.model_type, vocabulary, args.queue_size)]
    batch = draw_batch(models[0], words, args.batch_size, args.device)
    times = [
        [seconds_of_step(model, batch, args.device, args.bf16) for model in models] for _ in range(args.repetitions + 1)
    ]
    stock, fast = zip(*times[1:], strict=True)
    ratios = [before / after for before, after in times[1:]]
    of_stock, of_fast = statistics.median(stock), statistics.median(fast)
    print(f"stock {of_stock:.3f} s, fast {of_fast:.3f} s a step of {args.batch_size} pairs")
    print(f"fast is {statistics.median(ratios):.2f} times as fast (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
