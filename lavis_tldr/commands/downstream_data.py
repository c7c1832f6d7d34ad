"""``data``: the sets of the downstream evaluations."""

from __future__ import annotations

import argparse

_ROOT_HELP = "folder below which the sets lie (default: $TLDR_DATA, or data)"


def add_commands(commands) -> None:
    parser = commands.add_parser("data", help="check or convert the sets of the downstream evaluations")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say of each set which files are there, and where the missing come from")
    check.add_argument("names", nargs="*", metavar="NAME", help="the set, such as coco; all by default")
    check.add_argument("--data", metavar="ROOT", help=_ROOT_HELP)
    check.set_defaults(command=_check)
    convert = actions.add_parser("convert", help="make the lists that LAVIS reads from a set's official files")
    convert.add_argument("name", metavar="NAME", help="the set")
    convert.add_argument("--data", metavar="ROOT", help=_ROOT_HELP)
    convert.set_defaults(command=_convert)


def _check(args: argparse.Namespace) -> None:
    from lavis_tldr.datasets.downstream import catalogue

    root = catalogue.data_root(args.data)
    for downstream in catalogue.find_sets(args.names):
        folder = catalogue.set_folder(downstream, root)
        found = list(catalogue.look_up(downstream, folder))
        print(f"{downstream.name}  {downstream.title}, in {folder}\n  terms: {downstream.terms}")
        for file in found:
            where = f"  found    {file.needed.path}"
            if file.count:
                print(where + (f" ({file.count:,})" if file.count > 1 else ""))
                continue
            made = f"`lavis-tldr data convert {downstream.name}` makes it"
            print(
                f"  MISSING  {file.needed.path}: {file.needed.what}; {made if file.needed.made else file.needed.origin}"
            )


def _convert(args: argparse.Namespace) -> None:
    from lavis_tldr.datasets.downstream import catalogue

    (downstream,) = catalogue.find_sets([args.name])
    if downstream.convert is None:
        raise ValueError(f"{downstream.name} is read as it is: there is nothing to convert.")
    folder = catalogue.set_folder(downstream, catalogue.data_root(args.data))
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {folder}: `lavis-tldr data check {downstream.name}` says what goes in it."
        )
    print("\n".join(downstream.convert(folder)))
