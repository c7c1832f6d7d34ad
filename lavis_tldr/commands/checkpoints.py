"""``convert``: pretraining checkpoints for stock models."""

from __future__ import annotations

import argparse


def add_commands(commands) -> None:
    parser = commands.add_parser(
        "convert", help="turn a pretraining checkpoint into one that a stock model loads in full"
    )
    parser.add_argument("source", metavar="SOURCE", help="checkpoint that a pretraining saved")
    parser.add_argument("target", metavar="TARGET", help="file to write")
    parser.add_argument(
        "--for",
        dest="arch",
        required=True,
        metavar="NAME",
        help="the model (blip_retrieval, blip_vqa, ..., clip), or resume",
    )
    parser.add_argument("--image-size", type=int, metavar="N", help="of the model's images (default: as pretrained)")
    parser.add_argument(
        "--queue-size", type=int, metavar="N", help="of blip_retrieval's queues (default: as pretrained)"
    )
    parser.add_argument(
        "--model-type", metavar="NAME", help="whose packaged config the model uses (default: its first)"
    )
    parser.add_argument(
        "--options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what the model's config sets, such as embed_dim=128",
    )
    parser.set_defaults(command=_convert)


def _convert(args: argparse.Namespace) -> None:
    from pathlib import Path

    from lavis_tldr.models.conversion.outcome import Wishes
    from lavis_tldr.models.conversion.targets import convert
    from lavis_tldr.runners.checkpoint import read_checkpoint, save_checkpoint
    from lavis_tldr.runners.contexts import prints_logged

    wishes = Wishes(args.image_size, args.queue_size, args.model_type, tuple(args.options))
    with prints_logged():
        conversion = convert(read_checkpoint(args.source), args.arch, wishes)
    save_checkpoint(conversion.content, Path(args.target))
    print("\n".join([*conversion.lines(), f"wrote {args.target}"]))
