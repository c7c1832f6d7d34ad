"""``draw-scenes`` and ``truth``: sets of drawn scenes, whose truth is known."""

from __future__ import annotations

import argparse


def add_commands(commands) -> None:
    _add_draw_scenes(commands)
    _add_truth(commands)


def _add_draw_scenes(commands) -> None:
    parser = commands.add_parser("draw-scenes", help="draw an image-text set of scenes, with known truth")
    parser.add_argument("out", metavar="OUT", help="folder to make")
    parser.add_argument("--num-samples", type=int, metavar="N", help="how many pairs")
    parser.add_argument("--seed", type=int, help="the same seed draws the same set")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="side of an image")
    parser.add_argument("--max-things", type=int, metavar="N", help="most things in a scene, 1 to 4")
    parser.add_argument("--clean", metavar="OUT2", help="also draw a small clean set to fine-tune on, into this folder")
    parser.add_argument("--num-clean", type=int, metavar="N", help="its number of images")
    for name, what in (
        ("misaligned", "captions of another scene"),
        ("near-duplicates", "scenes that nearly repeat another"),
        ("broken", "unreadable images"),
        ("empty-captions", "captions without text"),
        ("variety", "all things, colours and places to draw"),
    ):
        parser.add_argument(f"--{name}", type=float, metavar="SHARE", help=f"share of {what}, in [0, 1]")
    parser.set_defaults(command=_draw_scenes)


def _add_truth(commands) -> None:
    parser = commands.add_parser("truth", help="say what a drawn set and its reduced sets are like, by the truth")
    parser.add_argument("truth", metavar="TRUTH_JSON", help="OUT/truth.json of draw-scenes")
    parser.add_argument(
        "ledgers", nargs="+", metavar="LEDGER", help="recipe folder RUN/NAME of a reduced set, or its ledger"
    )
    parser.add_argument("--examples", type=int, default=0, metavar="N", help="captions to list, of the first set")
    parser.set_defaults(command=_truth)


def _draw_scenes(args: argparse.Namespace) -> None:
    from lavis_tldr.scenes import draw_clean_set, draw_scenes

    def given(*names: str) -> dict:
        return {name: getattr(args, name) for name in names if getattr(args, name) is not None}

    shared = given("seed", "variety", "max_things", "image_size")
    draw_scenes(args.out, **shared, **given("num_samples", "misaligned", "near_duplicates", "broken", "empty_captions"))
    print(f"drew {args.out}")
    if args.clean:
        clean = {"num_samples": args.num_clean} if args.num_clean is not None else {}
        draw_clean_set(args.clean, **shared, **clean)
        print(f"drew {args.clean}")


def _truth(args: argparse.Namespace) -> None:
    from pathlib import Path

    from lavis_tldr.runs.ledger import read_ledger
    from lavis_tldr.scenes.truth import load_truth, report

    names = [_set_name(Path(path)) for path in args.ledgers]
    # Recipes of one name, of several runs, are told apart by their paths.
    shown = [path if names.count(name) > 1 else name for path, name in zip(args.ledgers, names, strict=True)]
    ledgers = {name: read_ledger(path).to_pylist() for name, path in zip(shown, args.ledgers, strict=True)}
    print("\n".join(report(ledgers, load_truth(args.truth), args.examples)))


def _set_name(path) -> str:
    """NAME of RUN/NAME, RUN/NAME/ledger or RUN/NAME/ledger/PART.parquet."""
    folder = path.absolute()
    folder = folder.parent if folder.suffix == ".parquet" else folder
    return folder.parent.name if folder.name == "ledger" else folder.name
