"""clip-benchmark's half, in an environment of its own: the same inputs, and both sides' figures beside each other.

    python theirs.py FOLDER

Leaves with 1 where they differ.
"""

import ast
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import clip_benchmark
import numpy as np
import open_clip
import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval

KS = (1, 5, 10)


class Identity:
    """A "model" whose inputs are features already."""

    @staticmethod
    def encode_image(features):
        return features

    encode_text = encode_image


class Batches(list):
    """Batches of images and targets, and the classes' names where they are asked for."""

    dataset = SimpleNamespace(classes=range(5))


def batches(images: torch.Tensor, targets, size: int = 64) -> Batches:
    return Batches(
        (images[first : first + size], targets[first : first + size]) for first in range(0, len(images), size)
    )


def retrieval(model, images: torch.Tensor, texts: list, tokenizer) -> dict[str, float]:
    found = zeroshot_retrieval.evaluate(
        model, batches(images, texts), tokenizer, "cpu", amp=False, recall_k_list=list(KS)
    )
    ways = {"txt": "text", "img": "image"}
    return {f"{way}_r{k}": 100 * found[f"{name}_retrieval_recall@{k}"] for way, name in ways.items() for k in KS}


def zero_shot(
    model, images: torch.Tensor, targets: torch.Tensor, tokenizer, names: list, templates
) -> dict[str, float]:
    found = zeroshot_classification.evaluate(
        model, batches(images, targets), tokenizer, names, templates, "cpu", amp=False
    )
    return {"acc": 100 * found["acc1"], "acc5": 100 * found["acc5"]}


def of_features(given) -> dict:
    texts = [given["texts"][given["of"] == number] for number in range(len(given["images"]))]
    prompts = {str(number): list(own) for number, own in enumerate(given["prompts"])}

    def stack(rows):
        return torch.from_numpy(np.stack(rows))

    images, pictures, labels = (torch.from_numpy(given[name]) for name in ("images", "pictures", "labels"))
    return {
        "retrieval": retrieval(Identity, images, texts, stack),
        "zero-shot": zero_shot(Identity, pictures, labels, stack, list(prompts), prompts),
    }


def of_clip(given, folder: Path, names: dict) -> dict:
    sizes = names["sizes"]
    model = open_clip.CLIP(sizes["embed_dim"], sizes["vision_cfg"], sizes["text_cfg"]).eval()
    model.load_state_dict(torch.load(folder / "clip.pt"))
    pixels, captions = torch.from_numpy(given["pixels"]), json.loads(str(given["captions"]))
    classes = names["sets"]["imagenet_a"]
    column = {number: place for place, number in enumerate(classes["numbers"])}
    targets = torch.tensor([column[int(number)] for number in given["classes"]])
    tokenizer = open_clip.SimpleTokenizer()
    return {
        "retrieval": retrieval(model, pixels, captions, tokenizer),
        "zero-shot": zero_shot(model, pixels, targets, tokenizer, classes["names"], names["templates"]["openai7"]),
    }


def lists_that_differ(names: dict) -> list[str]:
    """Class names, templates and wnids against those that clip-benchmark carries, some within its functions."""
    folder = Path(clip_benchmark.__file__).parent / "datasets"
    theirs = {
        "classes": json.loads((folder / "en_classnames.json").read_text())["imagenet1k"],
        "templates": json.loads((folder / "en_zeroshot_classification_templates.json").read_text())["imagenet1k"],
    }
    for node in ast.walk(ast.parse((folder / "builder.py").read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.List, ast.Set)):
            name = ast.unparse(node.targets[0])
            if name in ("all_imagenet_wordnet_ids", "imagenet_a_wnids", "imagenet_r_wnids"):
                theirs[name] = sorted(ast.literal_eval(node.value))
    sets = names["sets"]
    ours = {
        "classes": sets["imagenet"]["names"],
        "templates": names["templates"]["openai80"],
        "all_imagenet_wordnet_ids": sets["imagenet"]["wnids"],
        "imagenet_a_wnids": sets["imagenet_a"]["wnids"],
        "imagenet_r_wnids": sets["imagenet_r"]["wnids"],
    }
    different = []
    for name, own in ours.items():
        pairs = [(n, a, b) for n, (a, b) in enumerate(zip(own, theirs[name], strict=False)) if a != b]
        state = "equal" if not pairs and len(own) == len(theirs[name]) else f"DIFFER at {pairs[:3]}"
        print(f"{name:24} {len(own):5} {len(theirs[name]):5} {state}")
        different += [name] if state != "equal" else []
    return different


def main() -> None:
    folder = Path(sys.argv[1])
    given, names = np.load(folder / "inputs.npz"), json.loads((folder / "names.json").read_text())
    ours = json.loads((folder / "ours.json").read_text())
    theirs = {"random features": of_features(given), "small CLIP": of_clip(given, folder, names)}
    different = lists_that_differ(names)
    for what, kinds in theirs.items():
        for kind, figures in kinds.items():
            for name, figure in figures.items():
                own = ours[what][kind][name]
                same = abs(own - figure) < 1e-4
                print(f"{what:15} {kind:9} {name:7} ours {own:8.4f} theirs {figure:8.4f}{'' if same else '  DIFFER'}")
                different += [] if same else [name]
    raise SystemExit(bool(different))


if __name__ == "__main__":
    main()
