"""Small CLIP, BLIP and ViLT pretrained on flickr8k-web whole, on a random quarter and on ours; retrieval on 200 photos.

    python projects/tldr/flickr8k_web/pretrain.py [--arch clip blip vilt] [--seeds 3] [--part 0/2] [--tables]

Each training is done once: run again, the script goes on where it stopped. Several processes may share the work
(--part 0/2, --part 1/2). --tables writes the tables and curves of what is done into results/. The reductions of
run_scripts/flickr8k_web.sh come first.

Protocols: at matched steps every set is trained on for as many updates (and so pairs seen) as the whole pool; at
matched epochs as often as the whole pool is gone through, which is a quarter of the updates. Figure 3 of the paper: the
paper's quarter with its original captions, its generated ones, both joined, and one of the two drawn at every epoch.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

HERE = Path(__file__).parent
RUNS = Path("runs/flickr8k_web")
OUT = RUNS / "pretrain"
# Updates on the whole pool, by architecture: what fits a few hours of two cores.
STEPS = {"clip": 200, "blip": 120, "vilt": 150}
SETS = ("whole pool", "random quarter", "recommended quarter")
CAPTIONS = {"original": "original", "generated": "generated", "both joined": "refined", "one drawn": "drawn"}
FIGURES = ("r_mean", "txt_r1", "txt_r5", "txt_r10", "img_r1", "img_r5", "img_r10")
# Pixels of an image's side: what reads patches one by one is spared two thirds of them.
IMAGE_SIZES = {"clip": 196, "blip": 112, "vilt": 112}


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        arch: clip, blip or vilt.
        protocol: "steps", "epochs" or "captions" (Figure 3).
        arm: The set, or the captions.
        seed: Of the training, and of the random quarter.
    """

    arch: str
    protocol: str
    arm: str
    seed: int

    @property
    def job(self) -> str:
        return "_".join((self.arch, self.protocol, self.arm.replace(" ", "-"), str(self.seed)))

    @property
    def result(self) -> Path:
        return OUT / self.job / "retrieval.json"


def trials(archs: list[str], seeds: int) -> Iterator[Trial]:
    for arch in archs:
        for seed in range(seeds):
            yield from (Trial(arch, "steps", arm, seed) for arm in SETS)
            yield from (Trial(arch, "epochs", arm, seed) for arm in SETS[1:])
        if arch == "clip":
            yield from (Trial(arch, "captions", arm, seed) for seed in range(seeds) for arm in CAPTIONS)


def seen_as(arch: str) -> dict:
    """How a set's images are given to the model."""
    size = IMAGE_SIZES[arch]
    statistics_of_imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    processor = {"name": "blip_image_eval", "image_size": size, **statistics_of_imagenet}
    features = RUNS / ("features" if size == 196 else f"features{size}")
    return {"feature_cache": str(features), "vis_processor": {"train": processor, "eval": processor}}


def training_set(trial: Trial) -> dict:
    """The ``datasets`` section, but for what it is measured on."""
    common = seen_as(trial.arch)
    if trial.arm in ("whole pool", "random quarter"):
        source = {"format": "webdataset", "tars": "${oc.env:FLICKR8K_WEB,../shared/data/flickr8k-web}/*.tar"}
        share = 1.0 if trial.arm == "whole pool" else 0.25
        return {"tldr_pairs": {"source": source, "share": share, "share_seed": trial.seed, **common}}
    built = RUNS / "reduction" / ("best" if trial.arm in SETS else "paper") / "build"
    caption = "refined" if trial.arm in SETS else CAPTIONS[trial.arm]
    return {"tldr_reduced": {"path": str(built), "caption": caption, **common}}


def num_steps(trial: Trial) -> int:
    steps = STEPS[trial.arch]
    return round(steps / 4) if trial.protocol == "epochs" else steps


def measured_on(trial: Trial) -> dict:
    images = "runs/data/flickr8k-clean"
    source = {"format": "lavis_json", "annotations": f"{images}/dev.json", "image_root": images}
    return {"tldr_retrieval": {"test": source, **seen_as(trial.arch)}}


def run(trial: Trial) -> None:
    """Train and measure."""
    from lavis_tldr import train

    config = OmegaConf.load(HERE / "pretrain" / f"{trial.arch}.yaml")
    own = {
        "datasets": {**training_set(trial), **measured_on(trial)},
        "run": {
            "output_dir": str(OUT),
            "job_id": trial.job,
            "seed": trial.seed,
            "max_steps": num_steps(trial),
            "test_splits": ["test"],
        },
    }
    runner = train.run_config(OmegaConf.merge(config, own), name=trial.job)
    found = runner.tested["test"]
    told = {name: float(found[name]) for name in FIGURES}
    record = json.loads((runner.output_dir / "training.json").read_text())
    trial.result.write_text(json.dumps({**told, **{k: record[k] for k in ("samples_seen", "repeats", "device_hours")}}))
    for checkpoint in runner.output_dir.glob("*.pth"):
        if checkpoint.name != "checkpoint_last.pth":
            checkpoint.unlink()


# Tables


def write_tables(archs: list[str], seeds: int) -> None:
    from lavis_tldr.report.tables import markdown_table, write_csv

    done = [trial for trial in trials(archs, seeds) if trial.result.is_file()]
    rows = [{**vars(trial), **json.loads(trial.result.read_text())} for trial in done]
    results = HERE / "results"
    write_csv(results / "pretrain_seeds.csv", rows)
    names = {"steps": "same steps", "epochs": "same epochs", "captions": "paper's quarter, captions"}
    header = [
        "model",
        "protocol",
        "trained on",
        "pairs seen",
        "each seen",
        "mean recall",
        "text R@1",
        "image R@1",
        "seeds",
    ]
    lines = []
    for arch, protocol, arm in dict.fromkeys((row["arch"], row["protocol"], row["arm"]) for row in rows):
        own = [row for row in rows if (row["arch"], row["protocol"], row["arm"]) == (arch, protocol, arm)]
        cells = [shown([row[name] for row in own]) for name in ("r_mean", "txt_r1", "img_r1")]
        seen = [f"{own[0]['samples_seen']:,.0f}", f"{statistics.mean(row['repeats'] for row in own):.1f}"]
        lines.append([arch, names[protocol], arm, *seen, *cells, str(len(own))])
    (results / "pretrain.md").write_text("\n".join(markdown_table(header, lines)) + "\n", encoding="utf-8")
    draw_losses(done, results / "pretrain.png")


def shown(values: list[float]) -> str:
    from lavis_tldr.report.spread import Spread, with_error

    spread = Spread.of(values)
    return with_error(f"{spread.mean:.1f}", spread.deviation, ".1f")


def draw_losses(done: list[Trial], path: Path) -> None:
    """Losses by pairs seen, mean of the seeds: a panel for each part of each model's loss, and one for the captions."""
    from lavis_tldr.report.plots import new_figure, save_png

    curves: dict[tuple[str, str], dict[str, list]] = {}
    for trial in done:
        if trial.protocol == "epochs":
            continue
        rows = read_rows(OUT / trial.job / "training.csv")
        panel = trial.arch + (", captions" if trial.protocol == "captions" else "")
        for part in (name for name in rows[0] if name.startswith("loss_")):
            xs = [float(row["samples_seen"]) for row in rows]
            curves.setdefault((panel, part), {}).setdefault(trial.arm, []).append((xs, [float(r[part]) for r in rows]))
    figure = new_figure(10, 3 * -(-len(curves) // 2))
    panels = figure.subplots(-(-len(curves) // 2), 2, squeeze=False).flat
    for axes, ((panel, part), arms) in zip(panels, sorted(curves.items()), strict=False):
        for arm, runs in arms.items():
            means = [statistics.mean(values) for values in zip(*(ys for _, ys in runs), strict=True)]
            axes.plot(runs[0][0], means, label=arm)
        axes.set_title(f"{panel}: {part}")
        axes.set_xlabel("pairs seen")
        axes.legend()
    save_png(figure, path)


def read_rows(path: Path) -> list[dict]:
    import csv

    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", nargs="+", choices=tuple(STEPS), default=list(STEPS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", default="0/1", metavar="I/N", help="this process's share of the trainings")
    parser.add_argument("--tables", action="store_true", help="write tables and curves of what is done, and no more")
    args = parser.parse_args()
    if args.tables:
        write_tables(args.arch, args.seeds)
        return
    mine, processes = map(int, args.part.split("/"))
    for number, trial in enumerate(trials(args.arch, args.seeds)):
        if number % processes == mine and not trial.result.is_file():
            run(trial)


if __name__ == "__main__":
    main()
