"""Token features of a still encoder, computed once and read back from memory-mapped files.

For training without a GPU, where the encoder costs more than all the rest. Folder layout: ``fingerprint.txt`` says
what made the features; each ``<n>.npy`` holds features (N, 1 + L, D) float16, [CLS] first, and ``<n>.json`` their keys
in order.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lavis_tldr.files import open_whole


class FeatureCache:
    """Features by image key.

    Args:
        folder: Made if absent.
        fingerprint: What the features depend on (weights, image size); features of another are refused.

    Raises:
        ValueError: If the folder holds features of another encoder.
    """

    def __init__(self, folder: str | Path, fingerprint: str):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = self.folder / "fingerprint.txt"
        if stamp.is_file() and stamp.read_text() != fingerprint:
            raise ValueError(
                f"{self.folder} holds features of another encoder ({stamp.read_text()}; this one is {fingerprint}). "
                "Delete the folder, or name another feature_cache."
            )
        if not stamp.is_file():
            with open_whole(stamp) as file:
                file.write(fingerprint.encode())
        self._place: dict[str, tuple[int, int]] = {}  # key -> (file, row)
        self._arrays: dict[int, np.ndarray] = {}
        for path in self._key_files():
            self._index(int(path.stem), json.loads(path.read_text()))

    def __contains__(self, key: str) -> bool:
        return key in self._place

    def __getitem__(self, key: str) -> np.ndarray:
        """Features of one image, (1 + L, D), float16."""
        number, row = self._place[key]
        if number not in self._arrays:  # opened on first use, so that loader workers open their own
            self._arrays[number] = np.load(self.folder / f"{number:05d}.npy", mmap_mode="r", allow_pickle=False)
        return self._arrays[number][row]

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys without features, each once, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._place]

    def add(self, keys: Sequence[str], features: np.ndarray) -> None:
        """Store features, (N, 1 + L, D), written whole before their keys are.

        Raises:
            ValueError: If there is not one row a key.
        """
        if len(keys) != len(features):
            raise ValueError(f"{len(features)} rows of features for {len(keys)} keys; expected one each.")
        number = len(self._key_files())
        with open_whole(self.folder / f"{number:05d}.npy") as file:
            np.save(file, features.astype(np.float16))
        with open_whole(self.folder / f"{number:05d}.json") as file:
            file.write(json.dumps(list(keys)).encode())
        self._index(number, keys)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_arrays": {}}  # a memory map sent to a worker would be copied

    def _key_files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))  # what a killed process left begins otherwise

    def _index(self, number: int, keys: Sequence[str]) -> None:
        self._place.update({key: (number, row) for row, key in enumerate(keys)})
