"""Drawn sets for VQA and NLVR2, as LAVIS's lists and as run configs name them: coloured squares, and what is asked."""

import json
from pathlib import Path

from PIL import Image

SIZE = 32
COLOURS = {"red": (230, 30, 30), "green": (30, 230, 30), "blue": (30, 30, 230), "white": (245, 245, 245)}
ANSWERS = [*COLOURS, "yes", "no"]


def draw_images(folder: Path) -> Path:
    """One image of each colour."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name, colour in COLOURS.items():
        Image.new("RGB", (SIZE, SIZE), colour).save(images / f"{name}.png")
    return images


def vqa_rows() -> list[dict]:
    """What colour, and is it red: eight questions, ten people of one mind."""
    rows = []
    for number, colour in enumerate(COLOURS):
        red = "yes" if colour == "red" else "no"
        for kind, question, answer in (("other", "what colour", colour), ("yes/no", "is it red", red)):
            place = {"question_id": 10 * number + len(rows) % 2, "image": f"{colour}.png", "dataset": "vqa"}
            rows.append({**place, "question": question, "answer": [answer] * 10, "answer_type": kind})
    return rows


def nlvr_rows() -> list[dict]:
    """The left image is red: with two pairs each of two sentences' sets."""
    sides = [("red", "blue"), ("blue", "red"), ("red", "green"), ("green", "red")]
    return [
        {
            "images": [f"{left}.png", f"{right}.png"],
            "sentence": "the left one is red",
            "label": str(left == "red"),
            "identifier": f"dev-{number // 2}-{number % 2}-0",
        }
        for number, (left, right) in enumerate(sides)
    ]


def write_list(path: Path, rows: list) -> str:
    path.write_text(json.dumps(rows))
    return str(path)


def plain_processors(**settings) -> dict:
    """Without augmentation: a drawn image is to be learned by heart."""
    image = {"name": "blip_image_eval", "image_size": SIZE, **settings}
    return {"vis_processor": {"train": image, "eval": image}}


def drawn_vqa(folder: Path, splits=("train", "val"), **changes) -> dict:
    """The ``datasets`` section."""
    split = {"annotations": write_list(folder / "vqa.json", vqa_rows()), "image_root": str(draw_images(folder))}
    answers = write_list(folder / "answers.json", ANSWERS)
    given = {**dict.fromkeys(splits, split), "answer_list": answers, **plain_processors(), **changes}
    return {"tldr_vqa": given}


def drawn_nlvr(folder: Path, splits=("train", "val"), **changes) -> dict:
    """The ``datasets`` section."""
    split = {"annotations": write_list(folder / "nlvr.json", nlvr_rows()), "image_root": str(draw_images(folder))}
    return {"tldr_nlvr": {**dict.fromkeys(splits, split), **plain_processors(), **changes}}


def fine_tuning(task: str, output: Path, **changes) -> dict:
    """The ``run`` section of a tiny training on a CPU."""
    settings = {
        **{"task": task, "runner": "runner_pretrain", "device": "cpu", "output_dir": str(output), "job_id": "job"},
        **{"lr_sched": "linear_warmup_cosine_steps", "init_lr": 3e-3, "min_lr": 1e-4, "weight_decay": 0.0},
        **{"batch_size_train": 4, "batch_size_eval": 3, "num_workers": 0, "log_freq": 100, "bf16": False, "seed": 1},
        **{"max_epoch": 1, "max_steps": 100, "max_grad_norm": 1.0, "valid_splits": [], "test_splits": ["val"]},
    }
    return {**settings, **changes}
