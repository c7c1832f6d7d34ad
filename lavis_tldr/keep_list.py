"""A reduced set applied to its original WebDataset tars, in any pipeline, without rewriting them.

keep = KeepList("reduced/keep_list")                   # made by `lavis-tldr export RUN --format keys`
dataset = webdataset.WebDataset(tars).select(keep).map(keep.recaption).decode("pilrgb")
dataset = webdataset.WebDataset(tars).compose(keep.filter).decode("pilrgb")    # the same, with repeats

laion = LaionDataset(vis_processor, text_processor, tars).inner_dataset    # LAVIS's own
laion.pipeline.insert(2, keep.filter)                  # after the tars are read, before anything is decoded
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from lavis_tldr.exports.key_index import INDEX, KEY_PREFIX, PAIRS, PART, TAR, key_hash
from lavis_tldr.runs.stages import REPEATS
from lavis_tldr.sources.keys import clean_key

logger = logging.getLogger(__name__)

_ROOT = re.compile(r"^(\./|/(?=[^/]*\Z))")  # what a path may begin with, and a key does not
_SUSPICIOUS = 100_000  # samples in a row, from the first on, none of them kept


class KeepList:
    """Which samples of the original tars are kept, and their refined captions.

    The list's files are mapped, not read: processes of a machine share one copy of them, and a pickled
    KeepList is only its path. A sample is known by its whole key, never by a hash alone. A key that a tar has
    twice is the one thing that can't be told apart: a reduction keeps at most the first of the two, a KeepList
    lets both pass.

    A sample's key is its ``__key__``. Where the source was read with ``key_prefix: true``, keys are
    ``<part>/<key>``, and the part is found by the tar's name in the sample's ``__url__`` (by the folders before
    it, too, where several tars have that name).

    Args:
        path: Folder that `lavis-tldr export --format keys` has written.

    Raises:
        ValueError: If the folder holds no whole keep-list.
    """

    def __init__(self, path: str | os.PathLike):
        self._folder = Path(os.path.abspath(path))
        self._open()

    def _open(self) -> None:
        try:
            index = np.load(self._folder / INDEX, mmap_mode="r", allow_pickle=False)
            self._reader = pa.ipc.open_file(pa.memory_map(str(self._folder / PAIRS)))
            if index.dtype != np.uint64 or index.ndim != 2 or KEY_PREFIX not in (self._reader.schema.metadata or {}):
                raise ValueError(f"{INDEX} and {PAIRS} are something else")
        except (OSError, EOFError, ValueError) as error:
            raise ValueError(
                f"{self._folder} holds no keep-list ({error}). Give the folder that `lavis-tldr export RUN --format "
                f"keys` has written, with {INDEX} and {PAIRS} in it."
            ) from error
        self._hashes, self._rows = np.asarray(index[0]), np.asarray(index[1])  # (N,) each, uint64
        found = [self._reader.get_batch_with_custom_metadata(i) for i in range(self._reader.num_record_batches)]
        self._batches = [batch for batch, _ in found]
        self._ends = np.cumsum([batch.num_rows for batch in self._batches], dtype=np.int64)  # (parts,)
        if len(self._hashes) != (self._ends[-1] if len(found) else 0):
            raise ValueError(
                f"{self._folder / INDEX} and {PAIRS} are not of one keep-list: export it again to a new folder."
            )
        self.key_prefix: bool = json.loads(self._reader.schema.metadata[KEY_PREFIX])
        self._parts: dict[str, list[tuple[list[str], str]]] = {}  # by tar name: folders above it, part
        for _, about in found:
            *folders, tar = about[TAR].decode().split("/")
            self._parts.setdefault(tar, []).append((folders, about[PART].decode()))
        self._num_seen = self._num_kept = 0

    def __getstate__(self) -> dict:
        return {"_folder": self._folder}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, key: str) -> bool:
        """Whether the ledger's key is kept."""
        return self._find(key) is not None

    def __call__(self, sample: dict) -> bool:
        """Whether a WebDataset sample is kept, for ``select``.

        Raises:
            ValueError: If keys have a part's prefix and the sample's ``__url__`` names none of the tars.
        """
        kept = self._key_of(sample) in self
        self._num_seen += 1
        self._num_kept += kept
        if self._num_seen == _SUSPICIOUS and not self._num_kept:
            logger.warning(
                "none of the first %d samples (the last: %r of %s) is in %s: is it the keep-list of these tars?",
                *(_SUSPICIOUS, sample["__key__"], sample.get("__url__", "an unnamed tar"), self._folder),
            )
        return kept

    def recaption(self, sample: dict) -> dict:
        """A copy of a kept sample with its refined caption, for ``map``.

        The caption becomes the sample's ``txt``, the ``caption`` in its ``json`` (what LAVIS reads), and its
        ``caption``, if it has them; a sample with none of the three gets a ``txt``. Decoded fields stay
        decoded and others bytes.

        Raises:
            ValueError: If the sample is not kept.
        """
        key = self._key_of(sample)
        row = self._find(key)
        if row is None:
            raise ValueError(f"{key!r} is not in {self._folder}: put .select(keep_list) before .map(recaption).")
        caption = self._value(row, "caption")
        refined = dict(sample)
        if "json" in sample:
            refined["json"] = _with_caption(sample["json"], caption)
        for name in ("txt", "caption"):
            if name in sample:
                refined[name] = caption.encode() if isinstance(sample[name], bytes) else caption
        if not {"txt", "json", "caption"} & set(sample):
            refined["txt"] = caption.encode()
        return refined

    def repeats(self, sample: dict) -> int:
        """How often the set has a sample: 0 where it is not kept, above 1 only where its reduction repeats the best
        (``run.max_repeats``)."""
        row = self._find(self._key_of(sample))
        if row is None:
            return 0
        return self._value(row, REPEATS) if REPEATS in self._reader.schema.names else 1

    def filter(self, samples: Iterable[dict]) -> Iterator[dict]:
        """The kept samples with their refined captions, each as often as the set has it: as a stage of a
        ``DataPipeline``. Copies follow one another, so shuffle after it."""
        for sample in samples:
            if self(sample):
                for _ in range(self.repeats(sample)):
                    yield self.recaption(sample)

    def _find(self, key: str) -> int | None:
        """The row of a key, None if it is not kept."""
        wanted = np.uint64(key_hash(key))  # a Python int would turn the whole column to float64
        place = int(np.searchsorted(self._hashes, wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = int(self._rows[place])
            if self._value(row, "key") == key:
                return row
            place += 1
        return None

    def _value(self, row: int, column: str) -> str:
        batch = int(np.searchsorted(self._ends, row, side="right"))
        start = self._ends[batch - 1] if batch else 0
        return self._batches[batch][column][int(row - start)].as_py()

    def _key_of(self, sample: dict) -> str:
        key = clean_key(_ROOT.sub("", sample["__key__"]))  # as the tars' reader has it
        return f"{self._part_of(sample.get('__url__', ''))}/{key}" if self.key_prefix else key

    def _part_of(self, url: str) -> str:
        # A path, an address with a query, or a command such as "pipe:aws s3 cp s3://bucket/00000.tar -".
        for word in [url, *re.split(r"[\s?'\"]+", url)]:
            *folders, tar = word.split("/")
            candidates = self._parts.get(tar, [])
            shared = [_num_shared(folders, above) for above, _ in candidates]
            if shared and shared.count(max(shared)) == 1:
                return candidates[shared.index(max(shared))][1]
        raise ValueError(
            f"keys of {self._folder} begin with the tar's part, but {url!r} names none of its tars (such as "
            f"{next(iter(self._parts), '')!r}), or several. Keep the tars' names, and their folders where names repeat."
        )


def _num_shared(one: list[str], other: list[str]) -> int:
    """How many folders, counted from the innermost, two paths share."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _with_caption(fields: bytes | dict, caption: str) -> bytes | dict:
    """A sample's ``json`` with another caption; what is no JSON object becomes one."""
    if isinstance(fields, dict):
        return {**fields, "caption": caption}
    try:
        found = json.loads(fields.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        found = {}
    return json.dumps({**(found if isinstance(found, dict) else {}), "caption": caption}).encode()
