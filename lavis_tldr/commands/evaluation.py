"""``evaluate`` and ``evaluations``: a checkpoint through the paper's evaluations, and tables of the results."""

from __future__ import annotations

import argparse


def add_commands(commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="run the paper's evaluations of a checkpoint, those that the data at hand allows",
        description="Evaluate a checkpoint of clip_pretrain, vilt_pretrain, blip_pretrain or a model fine-tuned from "
        "one. What is done already is not done again.",
    )
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="that a training saved")
    parser.add_argument("--name", metavar="LABEL", help="its name in tables (default: its folder's)")
    parser.add_argument("--seed", type=int, metavar="N", help="of its training (default: as its config says)")
    parser.add_argument("--config", metavar="YAML", help="the run config it was trained with, if it holds none itself")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--suite", metavar="NAME", help="all evaluations of a suite (default: paper)")
    what.add_argument("--evaluations", nargs="+", default=[], metavar="NAME", help="these evaluations alone")
    parser.add_argument(
        "--retrieval",
        nargs="+",
        default=[],
        metavar="NAME=LIST,IMAGES",
        help="retrieval on a set of your own: a list in LAVIS's layout, and the folder of its images",
    )
    parser.add_argument(
        "--captions",
        nargs="+",
        default=[],
        metavar="NAME=LIST,IMAGES",
        help="captions of such a set, scored by its own",
    )
    parser.add_argument("--data", metavar="ROOT", help="folder below which the sets lie (default: $TLDR_DATA, or data)")
    parser.add_argument("--out", default="evaluations", metavar="FOLDER", help="for results (default: evaluations)")
    parser.add_argument("--baseline", metavar="LABEL", help="whose rows the table compares the others with")
    parser.add_argument(
        "--protocol",
        choices=("zero-shot", "fine-tuned"),
        help="how the model came about, where its kind does not tell: a CLIP fine-tuned on COCO",
    )
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu")
    parser.add_argument(
        "--options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="over all runs, such as run.k_test=32, model.text_weights=FOLDER, vis_processor.image_size=224",
    )
    parser.set_defaults(command=_evaluate)
    parser = commands.add_parser(
        "evaluations",
        help="tables of results, laid out like the paper's; without folders: who can take which evaluation",
    )
    parser.add_argument("folders", nargs="*", metavar="OUT", help="where `evaluate` wrote results")
    parser.add_argument("--baseline", metavar="LABEL", help="whose rows the others are compared with")
    parser.add_argument("--to", metavar="FOLDER", help="write evaluations.md, .csv and .tex there")
    parser.set_defaults(command=_evaluations)


def _evaluate(args: argparse.Namespace) -> int:
    from lavis_tldr.registration import require_lavis

    require_lavis()
    from lavis_tldr import log
    from lavis_tldr.suite.command import FAULTY, evaluate

    outcomes = evaluate(
        args.checkpoint,
        label=args.name,
        seed=args.seed,
        config=args.config,
        suite=args.suite,
        names=args.evaluations,
        retrieval=args.retrieval,
        captions=args.captions,
        data=args.data,
        out=args.out,
        baseline=args.baseline,
        protocol=args.protocol,
        device=args.device,
        options=args.options,
    )
    if log.rank() == 0:
        print("\n".join(f"{outcome.status:8} {outcome.evaluation}: {outcome.told}" for outcome in outcomes))
    wanted = {*args.evaluations, *(asked.partition("=")[0] for asked in (*args.retrieval, *args.captions))}
    return int(any(o.status in FAULTY["asked for" if o.evaluation in wanted else "in a suite"] for o in outcomes))


def _evaluations(args: argparse.Namespace) -> None:
    from pathlib import Path

    from lavis_tldr.report.tables import markdown_table
    from lavis_tldr.suite.architectures import overview
    from lavis_tldr.suite.results import collect
    from lavis_tldr.suite.rows import build_rows, check_baseline
    from lavis_tldr.suite.tables import build_tables, markdown_lines, write_tables

    if not args.folders:
        print("\n".join(markdown_table(*overview())))
        return
    results = list(collect(args.folders))
    if not results:
        raise ValueError(f"there is no result below {', '.join(args.folders)}: run `lavis-tldr evaluate` first.")
    if args.to:
        written = write_tables(results, Path(args.to), args.baseline)
        print("\n".join(f"wrote {path}" for path in written))
        return
    rows = build_rows(results)
    check_baseline(rows, args.baseline)
    print("\n".join(markdown_lines(build_tables(rows), rows, args.baseline)))
