"""The models of pretrain.py through `lavis-tldr evaluate`: whole pool, random quarter and ours, at the same steps.

    python projects/tldr/flickr8k_web/evaluate.py [--arch clip blip vilt] [--seeds 3]

Retrieval both ways and, by BLIP, captions on the 200 photos of flickr8k-clean's dev.json; zero-shot classification of
1,000 ImageNet photos, one a class. What is done is not done again. Tables are written into results/.
"""

import argparse
import logging
from pathlib import Path

from pretrain import OUT, RUNS, SETS, STEPS, seen_as, trials

from lavis_tldr.suite.command import evaluate
from lavis_tldr.suite.results import collect
from lavis_tldr.suite.tables import write_tables

HERE = Path(__file__).parent
DATA, EVALUATIONS = Path("runs/data"), RUNS / "evaluations"
_PHOTOS = f"photos={DATA}/flickr8k-clean/dev.json,{DATA}/flickr8k-clean"
# Matching learns nothing in trainings so short; seven prompts a class take a tenth of the time of eighty.
WAY = {"retrieval": ("run.score_by=cosine",), "zero_shot": ("run.score_by=cosine", "run.templates=openai7")}

logger = logging.getLogger(__name__)


def evaluate_all(archs: list[str], seeds: int) -> None:
    for trial in trials(archs, seeds):
        checkpoint = OUT / trial.job / "checkpoint_last.pth"
        if trial.protocol != "steps":
            continue
        if not trial.result.is_file():
            logger.warning("%s is not trained yet: run pretrain.py", trial.job)
            continue
        common = {"label": trial.arm, "seed": trial.seed, "data": DATA, "out": EVALUATIONS}
        features = seen_as(trial.arch)["feature_cache"]

        def options(kind: str, folder: str = features) -> list[str]:
            return [*WAY.get(kind, ()), f"datasets.tldr_{kind}.feature_cache={folder}"]

        evaluate(checkpoint, retrieval=[_PHOTOS], options=options("retrieval"), **common)
        evaluate(checkpoint, names=["imagenet"], options=options("zero_shot"), **common)
        if trial.arch == "blip":
            evaluate(checkpoint, captions=[_PHOTOS], options=options("captioning"), **common)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", nargs="+", choices=tuple(STEPS), default=list(STEPS))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    evaluate_all(args.arch, args.seeds)
    write_tables(list(collect([EVALUATIONS])), HERE / "results", SETS[0])


if __name__ == "__main__":
    main()
