"""Finished runs are read, traced and exported without LAVIS and torch; what needs them says what to install."""

import os
import subprocess
import sys
from pathlib import Path

import lavis_tldr

TESTS = Path(__file__).parent
# What the extras bring, but for pandas, which pyarrow takes for installed even so.
NOT_INSTALLED = (
    *("lavis", "torch", "torchvision", "transformers", "timm", "faiss", "nltk", "omegaconf", "decord", "scipy"),
    *("safetensors", "tqdm", "pycocoevalcap", "matplotlib", "webdataset", "cv2"),
)


def test_a_finished_run_is_of_use_without_lavis_and_torch(tmp_path):
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({NOT_INSTALLED!r}))\n"
        f"sys.argv = ['without_lavis.py', {str(tmp_path)!r}]\n"
        f"runpy.run_path({str(TESTS / 'helpers/without_lavis.py')!r}, run_name='__main__')"
    )
    folders = [TESTS / "helpers", TESTS / "exports", TESTS / "report", Path(lavis_tldr.__file__).parents[1]]
    path = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "all of it works without LAVIS and torch"
