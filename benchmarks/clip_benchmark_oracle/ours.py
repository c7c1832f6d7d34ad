"""This package's half of the comparison: made features and a small CLIP, and the figures of both.

    python ours.py FOLDER

Writes `inputs.npz`, `clip.pt` (weights), `names.json` (ImageNet's classes and prompts) and `ours.json` (figures).
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lavis_tldr.datasets.imagenet_classes import SETS, ImagenetClasses, classes_of
from lavis_tldr.evaluation.ranks import retrieval_figures, retrieval_ranks
from lavis_tldr.evaluation.zero_shot import TEMPLATES, classifier_logits, prompt_classifier, zero_shot_figures
from lavis_tldr.models.clip_pretrain import ClipPretrain
from lavis_tldr.tasks.retrieval_evaluation import RetrievalEvaluationTask
from lavis_tldr.tasks.zero_shot import ZeroShotTask

NUM_IMAGES, NUM_CLASSES, NUM_TEMPLATES, WIDTH = 300, 40, 7, 32
EMBED_DIM = 32
VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
COLOURS, THINGS = ("red", "green", "blue", "grey", "pink"), ("kite", "dog", "house", "boat", "tree", "lamp", "hill")


class Made(Dataset):
    """Noise for images; uneven captions and every class of a set in turn."""

    def __init__(self, pixels: torch.Tensor, captions: list[list[str]], classes: ImagenetClasses):
        self.pixels, self.classes = pixels, classes
        self.text = [caption for own in captions for caption in own]
        self.txt2img = dict(enumerate(number for number, own in enumerate(captions) for _ in own))
        self.img2txt = {n: [t for t, i in self.txt2img.items() if i == n] for n in range(len(captions))}
        self.images = [str(number) for number in range(len(pixels))]
        self.labels = [classes.numbers[number % len(classes.numbers)] for number in range(len(pixels))]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> dict:
        return {"image": self.pixels[index], "index": index}


def figures_of_features(rng: np.random.Generator) -> tuple[dict, dict]:
    """Features near each other as a model's are, and their figures."""
    counts = rng.integers(1, 7, NUM_IMAGES)
    of = np.repeat(np.arange(NUM_IMAGES), counts)
    images = rng.normal(size=(NUM_IMAGES, WIDTH)).astype(np.float32)
    texts = (images[of] + 1.5 * rng.normal(size=(len(of), WIDTH))).astype(np.float32)
    prompts = rng.normal(size=(NUM_CLASSES, NUM_TEMPLATES, WIDTH)).astype(np.float32)
    labels = np.arange(NUM_IMAGES) % NUM_CLASSES
    pictures = (prompts.mean(1)[labels] + 0.7 * rng.normal(size=(NUM_IMAGES, WIDTH))).astype(np.float32)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)]
    cosines = unit[0] @ unit[1].T
    img2txt = {number: np.flatnonzero(of == number) for number in range(NUM_IMAGES)}
    retrieval = retrieval_figures(retrieval_ranks(cosines, cosines.T, img2txt, dict(enumerate(of))))
    logits = classifier_logits(pictures, prompt_classifier(prompts))
    arrays = {"images": images, "texts": texts, "of": of, "prompts": prompts, "labels": labels, "pictures": pictures}
    return arrays, {"retrieval": retrieval, "zero-shot": zero_shot_figures(logits, labels, range(NUM_CLASSES))}


@torch.no_grad()
def figures_of_clip(rng: np.random.Generator, folder: Path) -> tuple[dict, dict]:
    """A random CLIP by the tasks, on noise."""
    torch.manual_seed(0)
    model = ClipPretrain(EMBED_DIM, dict(VISION), dict(TEXT)).eval()
    torch.save(model.state_dict(), folder / "clip.pt")
    pixels = torch.randn(NUM_IMAGES, 3, 32, 32)
    words = [f"a {colour} {thing}" for colour in COLOURS for thing in THINGS]
    captions = [[f"{words[n % len(words)]} and {n + k}" for k in range(rng.integers(1, 7))] for n in range(NUM_IMAGES)]
    made = Made(pixels, captions, classes_of("imagenet_a"))
    loader = DataLoader(made, batch_size=64)
    retrieval = retrieval_figures(RetrievalEvaluationTask().evaluation(model, loader))
    zero_shot = ZeroShotTask("openai7").evaluation(model, loader).figures
    arrays = {"pixels": pixels.numpy(), "captions": np.array(json.dumps(captions)), "classes": np.array(made.labels)}
    return arrays, {"retrieval": retrieval, "zero-shot": zero_shot}


def main() -> None:
    folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
    features, of_features = figures_of_features(rng)
    clip, of_clip = figures_of_clip(rng, folder)
    np.savez(folder / "inputs.npz", **features, **clip)
    (folder / "ours.json").write_text(json.dumps({"random features": of_features, "small CLIP": of_clip}))
    prompts = {name: [template("{c}") for template in templates] for name, templates in TEMPLATES.items()}
    sizes = {"embed_dim": EMBED_DIM, "vision_cfg": VISION, "text_cfg": TEXT}
    sets = {name: classes_of(name) for name in SETS}
    names = {name: {"wnids": own.wnids, "names": own.names, "numbers": own.numbers} for name, own in sets.items()}
    (folder / "names.json").write_text(json.dumps({"sets": names, "templates": prompts, "sizes": sizes}))


if __name__ == "__main__":
    main()
