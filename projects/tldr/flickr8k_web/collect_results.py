"""Gathers what run_scripts/flickr8k_web.sh has made under runs/flickr8k_web into the results folder beside this file.

Text only: annotations, captions, figures. No image and no weight.
"""

import argparse
import json
import shutil
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/flickr8k_web"))
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    reduction = args.runs / "reduction"
    for reduced_set, name in (("paper", "annotations_paper.json"), ("best", "annotations.json")):
        shutil.copyfile(reduction / reduced_set / "build" / "annotations.json", RESULTS / name)
    captions = read_captions(args.runs / "dev")
    (RESULTS / "dev_captions.json").write_text(json.dumps(captions, indent=1) + "\n")
    metrics = {
        "captioner": {
            "with codebook": dev_scores(args.runs / "dev"),
            "without codebook": dev_scores(args.runs / "nocode_dev"),
            "how": "200 dev photos, 5 references each, beam 3, one seed; CIDEr and BLEU-4 as fractions of 1",
        },
        "training": {
            name: training(args.runs / name)
            for name in (
                "captioner1_pretrain",
                "captioner2",
                "nocode2",
            )
        },
        "reduction": {name: json.loads((reduction / name / "summary.json").read_text()) for name in ("paper", "best")},
    }
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
    for name in ("proxy.csv", "proxy.md", "proxy_seeds.csv"):  # of lavis-tldr ablate
        shutil.copyfile(args.runs / "proxy" / name, RESULTS / name)


def read_captions(folder: Path) -> list[dict]:
    """``image`` and ``caption`` of each dev photo."""
    rows = json.loads((folder / "result" / "val_epoch0.json").read_text())
    return sorted(({"image": row["image"], "caption": row["caption"]} for row in rows), key=lambda row: row["image"])


def dev_scores(folder: Path) -> dict:
    """The scores that the evaluation run has logged."""
    return log_rows(folder)[-1]


def training(folder: Path) -> list[dict]:
    """Losses, codebook use and validation scores, epoch by epoch."""
    return log_rows(folder)


def log_rows(folder: Path) -> list[dict]:
    """The one-line JSON records of LAVIS's log.txt, without the config that comes before them."""
    rows = []
    for line in (folder / "log.txt").read_text().splitlines():
        if line.startswith(('{"train_', '{"val_')):
            rows.append(json.loads(line))
    return rows


if __name__ == "__main__":
    main()
