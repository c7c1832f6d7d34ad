"""``inspect``, ``why`` and ``captions``: what a run folder tells."""

from __future__ import annotations

import argparse
import json


def add_commands(commands) -> None:
    parser = commands.add_parser("inspect", help="say how a run was made, and how far it has come")
    _add_run_arguments(parser)
    parser.add_argument("--parts", action="store_true", help="with a table of each stage's parts")
    parser.add_argument(
        "--verify", action="store_true", help="read all files again and name those that have changed (status 1)"
    )
    parser.set_defaults(command=_inspect)
    parser = commands.add_parser(
        "why",
        help="say what became of one sample, and why",
        epilog="For a key that begins with a dash: lavis-tldr why RUN -- -KEY",
    )
    _add_run_arguments(parser)
    parser.add_argument(
        "key", metavar="KEY", help="the sample's key; KEY#0, KEY#1, ... for several captions of an image"
    )
    parser.set_defaults(command=_why)
    parser = commands.add_parser("captions", help="measure the captions: rare words kept, diversity, alignment")
    _add_run_arguments(parser)
    parser.add_argument(
        "--plot", metavar="FILE", help="also draw the alignment before and after refining (.png, .pdf, .svg)"
    )
    parser.set_defaults(command=_captions)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder (run.output_dir), or one reduced set's folder in it")
    parser.add_argument("--name", metavar="NAME", help="only this reduced set (run.name)")
    parser.add_argument("--json", action="store_true", help="print JSON, whole digests and texts")


def _inspect(args: argparse.Namespace) -> int:
    from lavis_tldr.api import open_run
    from lavis_tldr.report.inspection_text import inspection_lines, verification_lines

    run = open_run(args.run)
    facts = run.inspect(args.name)
    verified = run.verify(args.name) if args.verify else None
    if args.json:
        print(_dump(facts | ({"verified": verified} if verified else {})))
    else:
        lines = inspection_lines(facts, args.parts) + (verification_lines(verified) if verified else [])
        print("\n".join(lines))
    return 1 if verified and verified["changed"] else 0


def _why(args: argparse.Namespace) -> None:
    from lavis_tldr.api import open_run
    from lavis_tldr.report.why_text import why_lines

    facts = open_run(args.run).why(args.key, args.name)
    print(_dump(facts) if args.json else "\n".join(why_lines(facts)))


def _captions(args: argparse.Namespace) -> None:
    from lavis_tldr.api import open_run
    from lavis_tldr.report.captions import caption_lines

    facts = open_run(args.run).captions(args.name)
    print(_dump(facts) if args.json else "\n".join(caption_lines(facts)))
    if args.plot:
        from lavis_tldr.report.alignment_plot import plot_alignments

        plot_alignments(args.run, args.plot, args.name, facts["alignment"]["threshold"])


def _dump(facts: dict) -> str:
    # Strict JSON: no NaN. ASCII alone, so that no terminal acts on what a caption holds.
    return json.dumps(facts, indent=2, allow_nan=False)
