"""How fast the main parts are on one device, in a minute or two, with random weights; and the memory that they take.

    python benchmarks/gpu_rates.py RATES.json [--device cuda] [--model-type base]

Sizes do not need weights: every kernel does the same work. ``--device cpu --model-type tiny`` tries the script itself.
"""

from __future__ import annotations

import argparse
import json
import string
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from omegaconf import OmegaConf

from lavis_tldr.codebook.precision import inference, matmul_precision
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.models.wordpiece_training import SPECIAL_TOKENS

SECONDS = 6.0  # that each rate is measured for, after one call to warm up
CAPTION = "a small red boat on a wide blue lake beside two tall trees"
# Images at once on a GPU.
ENCODE_BATCH, CAPTION_BATCH, TRAIN_BATCHES = 256, 256, (128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rates", type=Path, metavar="RATES.json", help="file to write")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model-type", default="base", choices=CodebookCaptioner.PRETRAINED_MODEL_CONFIG_DICT)
    args = parser.parse_args()
    model = build(args.model_type).to(args.device)
    scale = 1 if args.device != "cpu" else 32
    rates = {"device": device_name(args.device), "model_type": args.model_type, "torch": torch.__version__}
    for name, rate in measurements(model, scale):
        rates[name] = rate
        print(f"{name}: {rate}", flush=True)
        args.rates.write_text(json.dumps(rates, indent=2) + "\n")  # what is there stays if the time runs out


def build(model_type: str) -> CodebookCaptioner:
    """A captioner with random weights and a vocabulary as large as BERT's."""
    config = OmegaConf.load(CodebookCaptioner.default_config_path(model_type)).model
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.txt"
        letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
        words = [f"word{i}" for i in range(30522 - len(SPECIAL_TOKENS) - len(letters) - len(CAPTION.split()))]
        tokens = dict.fromkeys([*SPECIAL_TOKENS, *letters, *CAPTION.split(), *words])
        vocabulary.write_text("\n".join(tokens) + "\n", encoding="utf-8")
        own = {"text_weights": None, "vocabulary": str(vocabulary)}
        torch.manual_seed(0)
        model = CodebookCaptioner.from_config(OmegaConf.merge(config, own))
    model.codebook_started = True
    return model


def measurements(model: CodebookCaptioner, scale: int) -> Iterator[tuple[str, dict]]:
    """Each rate by name, as it is measured; on a CPU with batches ``scale`` times as small."""
    size, device = model.visual_encoder.patch_embed.img_size[0], model.device
    model.eval()
    batch = ENCODE_BATCH // scale
    images = torch.randn(batch, 3, size, size, device=device)
    for bf16 in (True, False):
        with inference(device.type, bf16=bf16):
            rate = measured(lambda: model.encode_images({"image": images}), batch, device)
        yield f"encode, {'bf16' if bf16 else 'float32'}, images/s", rate
    batch = CAPTION_BATCH // scale
    with inference(device.type, bf16=True):
        encoded = model.encode_images({"image": images[:batch]})
        for num_beams in (1, 3):
            options = DecodingOptions(num_beams=num_beams, min_length=12, max_length=20)
            name = "greedy" if num_beams == 1 else f"{num_beams} beams"
            rate = measured(lambda options=options: model.generate_from(encoded, options), len(encoded), device)
            yield f"captions, {name}, captions/s", rate
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    for batch in TRAIN_BATCHES:
        batch //= scale
        pairs = {"image": torch.randn(batch, 3, size, size, device=device), "text_input": [CAPTION] * batch}

        def step(pairs=pairs) -> None:
            with torch.autocast(device.type, torch.bfloat16):
                loss = model(pairs)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        yield f"captioner training, bf16, batch {batch}, pairs/s", measured(step, batch, device)
    for precision in ("highest", "high"):
        with matmul_precision(precision):
            square = torch.randn(4096 // scale, 4096 // scale, device=device)
            flops = 2 * len(square) ** 3
            yield f"float32 products, {precision}, TFLOP/s", measured(lambda x=square: x @ x, flops / 1e12, device)


def measured(work: Callable[[], object], amount: float, device: torch.device) -> dict:
    """Amount of work a second, and the most memory allocated meanwhile; or that there was too little."""
    on_cuda = device.type == "cuda"
    try:
        if on_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        work()
        wait(device)
        started, calls = time.perf_counter(), 0
        while calls < 2 or time.perf_counter() - started < SECONDS:
            work()
            calls += 1
            if calls % 4 == 0:
                wait(device)  # else thousands of small kernels would be queued
        wait(device)
        rate = round(amount * calls / (time.perf_counter() - started), 2)
    except torch.cuda.OutOfMemoryError:
        return {"out_of_memory": True}
    return {"rate": rate, **({"peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)} if on_cuda else {})}


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
