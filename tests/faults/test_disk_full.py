"""A file that does not fit on the disk ends the run by its name; once there is room, nothing shows of it.

A limit on the size of files stands for the full disk: what goes beyond it fails while it is written.
"""

import numpy as np
import pytest
from hostile_set import Sample, encoded, scene, write_tar
from reductions import files_of, write_config

LIMIT = 2**20  # bytes; a run's log is far smaller
# What of the second tar's third sample is large, and the file that does not fit.
LARGE = {
    "caption": (
        Sample("b2.png", encoded(scene(6)), np.random.default_rng(0).bytes(2 * LIMIT).hex().encode()),
        "encode/second.parquet",
    ),
    "image": (Sample("b2.png", encoded(scene(6, (700, 700)))), "b2.png"),
}


@pytest.mark.parametrize("large", LARGE)
@pytest.mark.parametrize("ranks", [1, 2])
def test_full_disk(forked_ranks, tars, tmp_path, large, ranks):
    sample, file = LARGE[large]
    plain = {part: [Sample(f"{part}{i}.png", encoded(scene(i))) for i in range(4)] for part in ("a", "b")}
    plain["b"][2] = sample
    write_tar(tmp_path / "first.tar", plain["a"])
    write_tar(tmp_path / "second.tar", plain["b"])
    source = {"format": "webdataset", "tars": str(tmp_path / "*.tar")}

    def configure(name):
        settings = {"keep_ratio": 1, "images": "export", "recipe": "original"}
        return write_config(tmp_path / f"{name}.yaml", source, tars.captioner, tmp_path / name, **settings)

    assert forked_ranks.reduce(configure("alone")).succeeded

    failed = forked_ranks.reduce(configure("full"), ranks=ranks, file_size_limit=LIMIT, linger=5)
    assert 2 in failed.statuses  # an error of the user's
    told = next(line for line in failed.log.splitlines() if "lavis-tldr: error" in line)
    assert file in told and "File too large" in told and "run the same command again" in told
    assert (tmp_path / "full/encode/first.parquet").is_file()
    assert not list((tmp_path / "full").rglob(".tmp-*"))

    again = forked_ranks.reduce(configure("full"), ranks=ranks)
    assert again.succeeded, again.log
    assert files_of(tmp_path / "full") == files_of(tmp_path / "alone")
