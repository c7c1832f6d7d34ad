"""What one run on a GPU settles: ``pytest -m gpu``. Skipped where torch sees none.

``LAVIS_TLDR_GPU_CHECK_DEVICE=cpu`` runs the same code on the CPU, which shows faults of the tests themselves.
"""

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from reductions import lavis_state  # noqa: F401

HERE = Path(__file__).parent
DEVICE = os.environ.get("LAVIS_TLDR_GPU_CHECK_DEVICE") or ("cuda" if torch.cuda.is_available() else "")
NUM_PAIRS = 480


def pytest_collection_modifyitems(items):
    reason = "torch sees no CUDA device (LAVIS_TLDR_GPU_CHECK_DEVICE=cpu runs this on the CPU)"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("gpu")
            if not DEVICE:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def device() -> str:
    """Where the tests run."""
    return DEVICE


@pytest.fixture(scope="session")
def crowd(tmp_path_factory):
    """Drawn pairs in four tars, enough to fit a scorer on; clean ones beside them; and a captioner."""
    from reductions import write_captioner

    from lavis_tldr.scenes import draw_clean_set, draw_scenes

    folder = tmp_path_factory.mktemp("crowd")
    truth = draw_scenes(folder / "tars", num_samples=NUM_PAIRS, part_size=NUM_PAIRS // 4, image_size=32, broken=0.02)
    clean, dev = draw_clean_set(folder / "clean", num_samples=26, dev_share=0.3, image_size=32)
    captions = sorted(fact["true_caption"] for fact in truth.values())
    source = {"format": "webdataset", "tars": str(folder / "tars/*.tar")}
    captioner = write_captioner(folder, captions)
    found = {"folder": folder, "clean": clean, "dev": dev, "truth": truth, "captions": captions}
    return SimpleNamespace(**found, source=source, captioner=captioner)


@pytest.fixture(scope="session")
def near_ties():
    """The script that compares codes, as a module."""
    path = HERE.parents[1] / "projects/tldr/flickr8k_web/near_ties.py"
    spec = importlib.util.spec_from_file_location("near_ties", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
