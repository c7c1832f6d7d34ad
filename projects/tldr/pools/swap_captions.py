"""Writes a copy of a folder of WebDataset tars in which a share of the pairs has swapped captions: a noisier pool."""

import argparse
import io
import tarfile
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder of tars with a .txt for each image")
    parser.add_argument("target", type=Path, help="folder to make")
    parser.add_argument("--share", type=float, default=0.2, help="of the pairs, in [0, 1]")
    parser.add_argument("--seed", type=int, default=0, help="the same seed swaps the same pairs")
    args = parser.parse_args()
    tars = sorted(args.source.glob("*.tar"))
    captions: dict[tuple[str, str], bytes] = {}
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".txt"):
                    captions[path.name, member.name] = tar.extractfile(member).read()
    swapped = swap(captions, args.share, args.seed)
    args.target.mkdir(parents=True, exist_ok=True)
    for path in tars:
        with tarfile.open(path) as tar, tarfile.open(args.target / path.name, "w") as out:
            for member in tar:
                content = swapped.get((path.name, member.name))
                if content is None:
                    content = tar.extractfile(member).read() if member.isfile() else b""
                member.size = len(content)
                out.addfile(member, io.BytesIO(content))
    changed = sum(swapped[key] != caption for key, caption in captions.items())
    print(f"{changed:,} of {len(captions):,} captions in {len(tars)} tars are others now: {args.target}")


def swap(captions: dict, share: float, seed: int) -> dict:
    """Captions of which a drawn share is passed on, each to the next of the drawn."""
    keys = sorted(captions)
    drawn = np.random.default_rng(seed).permutation(len(keys))[: round(share * len(keys))]
    moved = {keys[to]: captions[keys[origin]] for to, origin in zip(drawn, np.roll(drawn, 1), strict=True)}
    return {**captions, **moved}


if __name__ == "__main__":
    main()
