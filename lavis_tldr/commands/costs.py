"""``cost``: hours spent on a reduction against hours saved by it."""

from __future__ import annotations

import argparse


def add_commands(commands) -> None:
    parser = commands.add_parser(
        "cost",
        help="set what a reduction cost against what pretrainings on it save",
        description="Add up the hours that captioner trainings and reductions took, compare them with what a "
        "pretraining on the reduced set saves, and say from how many pretrainings on the reduction pays.",
    )
    parser.add_argument("spent", nargs="+", metavar="RUN", help="folder of a captioner's training, or run folder")
    parser.add_argument("--whole", metavar="JOB", help="folder of the pretraining on the whole set")
    parser.add_argument("--reduced", metavar="JOB", help="folder of the same pretraining on the reduced set")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_cost)


def _cost(args: argparse.Namespace) -> None:
    import json
    from pathlib import Path

    from lavis_tldr.report.cost import account, balance, expenses, spent_lines, training_expense

    if bool(args.whole) != bool(args.reduced):
        raise ValueError("--whole and --reduced belong together: name both pretrainings, or none to add up the RUNs.")
    spent = [expense for run in args.spent for expense in expenses(Path(run))]
    if not args.whole:
        print("\n".join(spent_lines(spent)))
        return
    told = balance(spent, training_expense(Path(args.whole)), training_expense(Path(args.reduced)))
    print(json.dumps(told, indent=2) if args.json else "\n".join(account(told)))
