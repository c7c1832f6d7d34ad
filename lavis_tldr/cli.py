"""The ``lavis-tldr`` command: parse and dispatch only. Each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lavis_tldr.user_errors import PROGRAM, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (2 for an error that is the user's to mend)."""
    args = build_parser().parse_args(argv)
    return run_command(lambda: args.command(args), debug=args.debug)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``command``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Turn a large noisy image-text set into a small one.")
    parser.add_argument("--debug", action="store_true", help="show a traceback for every error")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_reduce(commands)
    _add_train(commands)
    _add_draw_scenes(commands)
    _add_truth(commands)
    _add_doctor(commands)
    _add_offline(commands)
    _add_enable(commands)
    return parser


def _add_reduce(commands) -> None:
    parser = commands.add_parser("reduce", help="run all stages of a reduction, or one")
    _add_config_arguments(parser)
    parser.add_argument("--stage", metavar="NAME", help="run this stage alone")
    parser.add_argument("--restart", metavar="NAME", help="forget this stage's files and later ones' first")
    parser.set_defaults(command=_reduce)


def _add_train(commands) -> None:
    parser = commands.add_parser("train", help="run any LAVIS config, as python -m lavis_tldr.train does")
    _add_config_arguments(parser)
    parser.set_defaults(command=_train)


def _add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cfg-path", required=True, metavar="YAML", help="the run's config")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="override its settings")


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
    parser.add_argument("ledgers", nargs="+", metavar="LEDGER", help="build/ledger.parquet of a reduced set")
    parser.add_argument("--examples", type=int, default=0, metavar="N", help="captions to list, of the first set")
    parser.set_defaults(command=_truth)


def _add_doctor(commands) -> None:
    parser = commands.add_parser("doctor", help="say what is wrong with this environment and what to do")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(command=_doctor)


def _add_offline(commands) -> None:
    parser = commands.add_parser("offline", help="let stock LAVIS models be built without a model hub")
    parser.add_argument("--vocab", metavar="FILE", help="bert-base-uncased's vocab.txt (default: characters)")
    parser.add_argument("--dir", required=True, metavar="DIR", help="folder to fill")
    parser.set_defaults(command=_offline)


def _add_enable(commands) -> None:
    enable = commands.add_parser("enable", help="let every `import lavis` of this Python know the plugin")
    enable.add_argument("--status", action="store_true", help="only say whether it is enabled")
    disable = commands.add_parser("disable", help="undo enable")
    for parser in (enable, disable):
        parser.add_argument("--site-dir", metavar="DIR", help="default: this Python's site-packages")
    enable.set_defaults(command=_enable)
    disable.set_defaults(command=_disable)


def _reduce(args: argparse.Namespace) -> None:
    from lavis_tldr.train import run

    options = list(args.options)
    if args.stage:
        options.append(f"run.stages=[{args.stage}]")
    if args.restart:
        options.append(f"run.restart={args.restart}")
    run(args.cfg_path, options)


def _train(args: argparse.Namespace) -> None:
    from lavis_tldr.train import run

    run(args.cfg_path, args.options)


def _draw_scenes(args: argparse.Namespace) -> None:
    from lavis_tldr.sources.scenes import draw_clean_set, draw_scenes

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

    from lavis_tldr.reduction.ledger import read_ledger
    from lavis_tldr.sources.scenes.truth import load_truth, report

    # .../<name>/build/ledger.parquet: the reduced set's name.
    ledgers = {Path(path).absolute().parent.parent.name: read_ledger(path).to_pylist() for path in args.ledgers}
    print("\n".join(report(ledgers, load_truth(args.truth), args.examples)))


def _doctor(args: argparse.Namespace) -> int:
    from lavis_tldr.doctor import examine

    return examine(as_json=args.json)


def _offline(args: argparse.Namespace) -> None:
    from lavis_tldr.offline import export_lines, prepare_offline

    print(export_lines(prepare_offline(args.dir, args.vocab)))


def _enable(args: argparse.Namespace) -> int:
    from lavis_tldr.autoload import enable, is_enabled, site_folder

    if args.status:
        enabled = is_enabled(args.site_dir)
        print(f"{'enabled' if enabled else 'not enabled'} in {site_folder(args.site_dir)}")
        return 0 if enabled else 1
    for path in enable(args.site_dir):
        print(f"wrote {path}")
    return 0


def _disable(args: argparse.Namespace) -> None:
    from lavis_tldr.autoload import disable, site_folder

    removed = disable(args.site_dir)
    for path in removed:
        print(f"removed {path}")
    if not removed:
        print(f"was not enabled in {site_folder(args.site_dir)}")


if __name__ == "__main__":
    sys.exit(main())
