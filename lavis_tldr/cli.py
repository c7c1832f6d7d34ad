"""The ``lavis-tldr`` command: parse and dispatch only. The commands are in ``lavis_tldr/commands/``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from lavis_tldr import log
from lavis_tldr.commands import GROUPS
from lavis_tldr.environment.diagnosis import versions
from lavis_tldr.environment.openmp import wait_asleep
from lavis_tldr.user_errors import PROGRAM, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (2 for an error that is the user's to mend)."""
    wait_asleep()
    args = build_parser().parse_args(argv)

    def command() -> int | None:
        with log.to_stderr(getattr(args, "verbosity", None)):
            return args.command(args)

    try:
        status = run_command(command, debug=args.debug)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has had enough. Python would still try to flush as it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``command``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Turn a large noisy image-text set into a small one.")
    parser.add_argument("--version", action="version", version=versions())
    parser.add_argument("--debug", action="store_true", help="show a traceback for every error")
    log.add_options(parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add_commands(commands)
    for command in commands.choices.values():
        log.add_options(command)  # after the command as well as before it
    return parser


if __name__ == "__main__":
    sys.exit(main())
