"""How many codes of real photos fall otherwise with other threads, batches or precision: near ties between codes.

    python projects/tldr/flickr8k_web/near_ties.py --cfg-path projects/tldr/flickr8k_web/reduce.yaml [--num-images 256]

On a GPU: --device cuda.
"""

from __future__ import annotations

import argparse
import io
from itertools import islice
from types import SimpleNamespace

import numpy as np
import torch
from lavis.common.config import Config
from lavis.common.registry import registry
from omegaconf import OmegaConf

from lavis_tldr.codebook.precision import inference
from lavis_tldr.sources import decode_image
from lavis_tldr.train import load_user_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cfg-path", required=True, metavar="YAML", help="a reduction's config")
    parser.add_argument("--num-images", type=int, default=256, metavar="N")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    text = OmegaConf.to_yaml(load_user_config(args.cfg_path))
    cfg = Config(SimpleNamespace(cfg_path=io.StringIO(text), options=[]))
    model = registry.get_model_class(cfg.model_cfg.arch).from_config(cfg.model_cfg).eval().to(args.device)
    images = load_images(cfg, args.num_images)

    def codes(threads: int = 2, **options) -> np.ndarray:
        torch.set_num_threads(threads)
        return codes_of(model, images, **options)

    for bf16, name in ((False, "float32"), (True, "bf16")):
        base = codes(bf16=bf16)
        report(f"{name}: 1 thread for 2", codes(threads=1, bf16=bf16), base)
        report(f"{name}: batches of 16 for 64", codes(batch_size=16, bf16=bf16), base)
    report("bf16 for float32", codes(bf16=True), codes())


def codes_of(model, images: torch.Tensor, batch_size: int = 64, bf16: bool = False) -> np.ndarray:
    """Codes of images (N, 3, H, W), (N, L), computed where the model is."""
    with inference(model.device.type, bf16=bf16):
        blocks = [model.encode_images({"image": block.to(model.device)}).codes for block in images.split(batch_size)]
    return torch.cat(blocks).cpu().numpy()


def load_images(cfg, count: int) -> torch.Tensor:
    """The first readable images of the source, (N, 3, H, W)."""
    builder = registry.get_builder_class("tldr_source")(cfg.datasets_cfg.tldr_source)
    source = builder.build_datasets()["train"]
    images = []
    for part in source.source.parts:
        for record in islice(source.source.read(part), count):
            if not record.error and len(images) < count:
                try:
                    images.append(source.vis_processor(decode_image(record.image)))
                except ValueError:
                    continue  # a broken image has no codes
    return torch.stack(images)


def report(what: str, found: np.ndarray, base: np.ndarray) -> None:
    other = found != base
    print(f"{what}: {other.sum()} of {other.size} codes differ ({other.mean():.2%}), in {other.any(1).sum()} images")


if __name__ == "__main__":
    main()
