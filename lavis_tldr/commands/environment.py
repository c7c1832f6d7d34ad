"""``doctor``, ``offline``, ``enable`` and ``disable``: what surrounds the package."""

from __future__ import annotations

import argparse


def add_commands(commands) -> None:
    parser = commands.add_parser("doctor", help="say what is wrong with this environment and what to do")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(command=_doctor)
    parser = commands.add_parser("offline", help="let stock LAVIS models be built without a model hub")
    parser.add_argument("--vocab", metavar="FILE", help="bert-base-uncased's vocab.txt (default: characters)")
    parser.add_argument("--dir", required=True, metavar="DIR", help="folder to fill")
    parser.set_defaults(command=_offline)
    enable = commands.add_parser("enable", help="let every `import lavis` of this Python know the plugin")
    enable.add_argument("--status", action="store_true", help="only say whether it is enabled")
    disable = commands.add_parser("disable", help="undo enable")
    for parser in (enable, disable):
        parser.add_argument("--site-dir", metavar="DIR", help="default: this Python's site-packages")
    enable.set_defaults(command=_enable)
    disable.set_defaults(command=_disable)


def _doctor(args: argparse.Namespace) -> int:
    from lavis_tldr.environment.doctor import examine

    return examine(as_json=args.json)


def _offline(args: argparse.Namespace) -> None:
    from lavis_tldr.environment.offline import export_lines, prepare_offline
    from lavis_tldr.registration import require_lavis

    require_lavis()
    print(export_lines(prepare_offline(args.dir, args.vocab)))


def _enable(args: argparse.Namespace) -> int:
    from lavis_tldr.environment.enable import enable, is_enabled, site_folder

    if args.status:
        enabled = is_enabled(args.site_dir)
        print(f"{'enabled' if enabled else 'not enabled'} in {site_folder(args.site_dir)}")
        return 0 if enabled else 1
    for path in enable(args.site_dir):
        print(f"wrote {path}")
    return 0


def _disable(args: argparse.Namespace) -> None:
    from lavis_tldr.environment.enable import disable, site_folder

    removed = disable(args.site_dir)
    for path in removed:
        print(f"removed {path}")
    if not removed:
        print(f"was not enabled in {site_folder(args.site_dir)}")
