"""``export`` and ``repair``: a finished reduction in another format, and made whole again."""

from __future__ import annotations

import argparse

from lavis_tldr.exports.formats import CAPTIONS, FORMATS


def add_commands(commands) -> None:
    parser = commands.add_parser("export", help="write the kept pairs of a reduction in another format")
    _add_run_arguments(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to fill")
    parser.add_argument(
        "--format",
        required=True,
        choices=FORMATS,
        help="; ".join(f"{name}: {format.about}" for name, format in FORMATS.items()),
    )
    parser.add_argument(
        "--caption", choices=CAPTIONS, default=CAPTIONS[0], help="which caption is the text (default: the refined one)"
    )
    parser.add_argument("--num-workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.set_defaults(command=_export)
    parser = commands.add_parser("repair", help="replace kept samples whose images have gone missing by understudies")
    _add_run_arguments(parser)
    parser.add_argument("--decode", action="store_true", help="decode each image, not only look whether it is there")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be replaced")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="override the config's settings")
    parser.set_defaults(command=_repair)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder (run.output_dir), or one reduced set's folder in it")
    parser.add_argument("--name", metavar="NAME", help="the reduced set (run.name), where the run has several")


def _export(args: argparse.Namespace) -> None:
    from lavis_tldr.api import open_run

    counts = open_run(args.run).export(
        args.out, args.format, name=args.name, caption=args.caption, num_workers=args.num_workers
    )
    print(f"exported to {args.out}: {_told(counts)}")


def _repair(args: argparse.Namespace) -> None:
    from lavis_tldr.api import open_run

    counts = open_run(args.run).repair(args.name, decode=args.decode, dry_run=args.dry_run, options=args.options)
    print(f"{'would repair' if args.dry_run else 'repaired'} {args.run}: {_told(counts)}")


def _told(counts: dict) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in counts.items()
    )
