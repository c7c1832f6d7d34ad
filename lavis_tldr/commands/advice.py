"""``advise``: how much of a set to keep."""

from __future__ import annotations

import argparse
import json


def add_commands(commands) -> None:
    parser = commands.add_parser(
        "advise",
        help="recommend a keep ratio for a quality target, or for a planned training",
        description="Say how much of a set to keep: what each ratio of a finished set would keep is trained on in "
        "small, several times, and compared with the whole set.",
    )
    parser.add_argument("run", metavar="RUN", help="run folder (run.output_dir), or one reduced set's folder in it")
    parser.add_argument("--name", metavar="NAME", help="the reduced set (run.name), where the run has several")
    parser.add_argument(
        "--target", type=float, metavar="SHARE", help="quality asked for: 1 (default) is as good as the reference"
    )
    parser.add_argument(
        "--against", choices=("whole", "best"), help="the reference: the whole set (default), or the best ratio"
    )
    parser.add_argument(
        "--samples-seen",
        type=int,
        metavar="N",
        help="recommend for a training that will see so many pairs (steps x batch size), whatever their number",
    )
    parser.add_argument(
        "--max-steps",
        type=int,
        metavar="N",
        help="with --samples-seen: longest training of the advisor (default: 1000)",
    )
    parser.add_argument("--ratios", type=float, nargs="+", metavar="RATIO", help="to try, besides the set's own")
    parser.add_argument("--seeds", type=int, metavar="N", help="trainings of each ratio (default: 5)")
    parser.add_argument("--epochs", type=float, metavar="E", help="passes over the whole set (default: 10)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="pairs a step (default: 128)")
    parser.add_argument("--sample", type=int, metavar="N", help="pairs drawn for the trainings (default: 50000)")
    parser.add_argument("--held-out", type=int, metavar="N", help="pairs to score on, at most (default: 1000)")
    parser.add_argument(
        "--trusted", type=float, metavar="SHARE", help="hold out of this share of the best aligned (default: 1, of all)"
    )
    parser.add_argument(
        "--validate-on", metavar="RUN2", help="score on these pairs instead: a run folder with `reduce --stage encode`"
    )
    parser.add_argument("--text-weights", metavar="BERT", help="sentence encoder (default: the config's)")
    parser.add_argument("--device", default="auto", help="where captions are embedded: auto (default), cpu, cuda")
    parser.add_argument("--out", metavar="DIR", help="also write advice.md, .csv, .json and .png there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_advise)


def _advise(args: argparse.Namespace) -> None:
    from pathlib import Path

    from lavis_tldr.registration import require_lavis

    require_lavis()
    import torch

    from lavis_tldr.advice.account import table_lines, words, write_account
    from lavis_tldr.advice.advise import advise
    from lavis_tldr.advice.trainings import TrainingOptions

    given = {
        "num_seeds": args.seeds,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "num_held_out": args.held_out,
        "trusted_share": args.trusted,
    }
    _check_planned(args)
    more = {
        "target": args.target,
        "against": args.against,
        "samples_seen": args.samples_seen,
        "max_steps": args.max_steps,
        "ratios": args.ratios,
        "sample": args.sample,
        "validate_on": args.validate_on and Path(args.validate_on),
        "text_weights": args.text_weights,
    }
    device = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    advice = advise(
        Path(args.run),
        name=args.name,
        options=TrainingOptions(**_stated(given)),
        device=device,
        **_stated(more),
    )
    if args.out:
        write_account(advice, Path(args.out))
    print(json.dumps(advice, indent=2) if args.json else "\n".join([*table_lines(advice), "", *words(advice)]))


def _check_planned(args: argparse.Namespace) -> None:
    if args.samples_seen is None:
        if args.max_steps is not None:
            raise ValueError("--max-steps is for --samples-seen; without it give --epochs.")
        return
    for flag, value in (("--target", args.target), ("--against", args.against), ("--epochs", args.epochs)):
        if value is not None:
            raise ValueError(
                f"{flag} has no say with --samples-seen, which asks for the best share for a training of that length: "
                "leave one of them out."
            )


def _stated(values: dict) -> dict:
    """Those that were given on the command line."""
    return {name: value for name, value in values.items() if value is not None}
