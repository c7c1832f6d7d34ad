"""``ablate``: reductions side by side."""

from __future__ import annotations

import argparse


def add_commands(commands) -> None:
    parser = commands.add_parser(
        "ablate", help="run a grid of reductions with several seeds, score each, and write table and plot"
    )
    parser.add_argument(
        "--cfg-path",
        required=True,
        nargs="+",
        metavar="YAML",
        help="the ablation, or several, which then share what is loaded and computed",
    )
    parser.add_argument(
        "--arm", action="append", default=[], metavar="NAME", help="run this arm alone; may be repeated"
    )
    parser.add_argument(
        "--restart", action="append", default=[], metavar="NAME", help="make this arm anew; may be repeated"
    )
    parser.add_argument(
        "--options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override the ablation's settings, such as seeds=5",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what is done and what would be")
    parser.set_defaults(command=_ablate)


def _ablate(args: argparse.Namespace) -> int:
    from lavis_tldr.registration import require_lavis

    require_lavis()
    from lavis_tldr.ablation.grid import ablate

    chosen = {"arms": args.arm, "restart": args.restart, "dry_run": args.dry_run, "options": args.options}
    return 0 if ablate(args.cfg_path, **chosen) else 1
