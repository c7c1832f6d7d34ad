"""The run folder that the report's tests look at."""

import pytest
from run_folders import write_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    return write_run(tmp_path / "run")
