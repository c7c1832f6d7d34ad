"""``reduce`` and ``train``: run a config."""

from __future__ import annotations

import argparse


def add_commands(commands) -> None:
    parser = commands.add_parser("reduce", help="run all stages of a reduction, or one")
    _add_config_arguments(parser)
    parser.add_argument("--stage", metavar="NAME", help="run this stage alone, such as encode (the README lists them)")
    parser.add_argument("--restart", metavar="NAME", help="forget this stage's files and later ones' first")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="only say what would be done with these settings, why, and what is missing",
    )
    parser.set_defaults(command=_reduce)
    parser = commands.add_parser("train", help="run any LAVIS config, as python -m lavis_tldr.train does")
    _add_config_arguments(parser)
    parser.set_defaults(command=_train)


def _add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cfg-path", required=True, metavar="YAML", help="the run's config")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="override its settings")


def _reduce(args: argparse.Namespace) -> None:
    from lavis_tldr.api import explain, reduce

    asked = {"options": args.options, "stage": args.stage, "restart": args.restart}
    if not args.explain:
        reduce(args.cfg_path, **asked)
        return
    from lavis_tldr.report.explanation_text import explanation_lines

    print("\n".join(explanation_lines(explain(args.cfg_path, **asked))))


def _train(args: argparse.Namespace) -> None:
    from lavis_tldr.train import run

    run(args.cfg_path, args.options)
