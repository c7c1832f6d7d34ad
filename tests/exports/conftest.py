import pytest
from ledgers import sample, tar_run, write_tar


@pytest.fixture
def two_tars(tmp_path):
    """Paths of tars with samples "000" to "003" and "010", "011", of greys 0 to 3 and 10, 11."""
    first = write_tar(tmp_path / "tars/a.tar", {k: v for i in range(4) for k, v in sample(f"{i:03d}", i).items()})
    second = write_tar(tmp_path / "tars/b.tar", sample("010", 10) | sample("011", 11))
    return [first, second]


@pytest.fixture
def run(tmp_path, two_tars):
    """A finished run over them, "001" and "010" dropped."""
    return tar_run(tmp_path / "run", two_tars, dropped={"001", "010"})
