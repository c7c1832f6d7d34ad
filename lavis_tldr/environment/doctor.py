"""``lavis-tldr doctor``: what is wrong with this environment, in plain words, and what to do about it.

It imports neither LAVIS nor torch into its own process, so it works where these are broken. Status "problem":
the main job cannot run. "note": something optional is missing, or a choice to know about.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lavis_tldr.environment.cache_root import CACHE_ROOT, cache_root
from lavis_tldr.environment.diagnosis import (
    FULL_INSTALL,
    NUMPY_REMEDY,
    TORCH_REMEDY,
    numpy_mismatch,
    version_of,
    version_tuple,
)
from lavis_tldr.environment.interpreter import Interpreter
from lavis_tldr.environment.nvidia import driver_version, wheel_remedy

LAVIS_VERSION = "1.0.2"
PY312_ROUTE = "three pip commands, written at the top of requirements-py312.txt"
OFFLINE_ROUTE = "lavis-tldr offline --vocab vocab.txt --dir DIR (prints HF_HOME and the like)"
HUB = ("huggingface.co", 443)
_PYTHON = Interpreter()  # one for all checks: what they import takes half a minute, over and over
NLTK_DATA = ("taggers/averaged_perceptron_tagger_eng", "corpora/stopwords")


@dataclass(frozen=True)
class Check:
    """One finding. ``status`` is "ok", "note" or "problem"."""

    name: str
    status: str
    message: str
    remedy: str = ""


def check_python() -> Check:
    version = tuple(sys.version_info[:2])
    name = f"Python {version[0]}.{version[1]}"
    if version < (3, 10):
        return Check("python", "problem", f"{name} is too old", "use Python 3.10 or 3.11")
    if version > (3, 12):
        return Check("python", "problem", f"{name} was never tried", "use Python 3.10, 3.11 or 3.12")
    if version == (3, 12):
        return Check("python", "note", f"{name}: LAVIS's pinned tokenizers has no wheel for it", PY312_ROUTE)
    return Check("python", "ok", name)


def check_lavis() -> Check:
    found = version_of("salesforce-lavis")
    remedy = PY312_ROUTE if sys.version_info >= (3, 12) else FULL_INSTALL
    if found is None:
        without = "salesforce-lavis is not installed: runs can be read and exported, not made"
        return Check("lavis", "problem", without, remedy)
    if found != LAVIS_VERSION:
        return Check("lavis", "problem", f"salesforce-lavis {found}; the plugin is made for {LAVIS_VERSION}", remedy)
    return Check("lavis", "ok", f"salesforce-lavis {found}")


def check_numpy() -> Check:
    found = version_of("numpy")
    if found is None:
        return Check("numpy", "problem", "numpy is not installed", NUMPY_REMEDY)
    mismatch = numpy_mismatch()
    if mismatch:
        return Check("numpy", "problem", f"{mismatch}, so `import lavis` fails", NUMPY_REMEDY)
    return Check("numpy", "ok", f"numpy {found}")


def check_torch() -> Check:
    versions = f"torch {version_of('torch')}, torchvision {version_of('torchvision')}"
    if version_of("torch") is None or version_of("torchvision") is None:
        return Check("torch", "problem", f"not both installed: {versions}", FULL_INSTALL)
    # torch fails when it loads, not when it is installed; a process apart keeps a crash out of this one.
    error = _error_of("import torch, torchvision; torchvision.ops.nms")
    if error:
        return Check("torch", "problem", f"{versions} do not go together: {error}", TORCH_REMEDY)
    return Check("torch", "ok", versions)


def check_transformers() -> Check:
    found, timm = version_of("transformers"), version_of("timm")
    both = f"transformers {found}, timm {timm}"
    if found is None or timm is None:
        return Check("transformers", "problem", f"not both installed: {both}", FULL_INSTALL)
    if timm != "0.4.12":
        return Check("transformers", "problem", f"{both}: LAVIS needs timm 0.4.12", "pip install timm==0.4.12")
    if not (4, 25) <= version_tuple(found) < (4, 27):
        message = f"{both}: LAVIS pins transformers 4.25 or 4.26; stock BLIP beam search fails on newer ones"
        return Check("transformers", "note", message, "captions of this plugin do not depend on it")
    return Check("transformers", "ok", both)


def check_faiss() -> Check:
    error = _error_of("import faiss; faiss.Kmeans")
    if error:
        remedy = "pip install faiss-gpu 'numpy<2'   (without CUDA: faiss-cpu)"
        return Check("faiss", "problem", f"faiss does not import: {error}", remedy)
    return Check("faiss", "ok", "faiss imports (it also clusters without a GPU)")


def check_lavis_import() -> Check:
    error = _error_of("import lavis")
    if error:
        return Check("import lavis", "problem", error, "see the problems above; mend those first")
    return Check("import lavis", "ok", "import lavis works")


def check_cuda() -> Check:
    output, error = _run("import torch; print(torch.cuda.device_count(), torch.version.cuda or 'none')")
    if error:
        return Check("cuda", "note", f"torch could not be asked: {error}", "see `torch` above")
    devices, build = output.split()
    driver = driver_version() if devices == "0" and os.environ.get("CUDA_VISIBLE_DEVICES") is None else ""
    if driver:
        what = "is a CPU build" if build == "none" else f"(for CUDA {build}) sees no device"
        # The wheel is chosen for no GPU, or by accident; a wheel for CUDA was meant to use it.
        status = "note" if build == "none" else "problem"
        return Check("cuda", status, f"there is a GPU with driver {driver}, but torch {what}", wheel_remedy(driver))
    if devices == "0":
        why = "this torch is a CPU build" if build == "none" else "no GPU, no driver, or CUDA_VISIBLE_DEVICES hides it"
        remedy = "set run.device: auto or cpu in configs; the runner is then runner_cpu"
        return Check("cuda", "note", f"torch sees no CUDA device ({why})", remedy)
    return Check("cuda", "ok", f"{devices} CUDA device(s), CUDA {build}")


def check_hub() -> Check:
    remedy = f"give local paths in the config; for stock LAVIS models: {OFFLINE_ROUTE}"
    switches = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    offline = [name for name in switches if os.environ.get(name, "0") != "0"]
    if offline:
        return Check("hub", "note", f"{' and '.join(offline)} set: a model hub is not asked", remedy)
    indirect = [name for name in ("HF_ENDPOINT", "HTTPS_PROXY", "https_proxy") if os.environ.get(name)]
    if indirect:
        return Check("hub", "note", f"the way to the hub goes by {indirect[0]}, which was not tried", remedy)
    if not _hub_answers():
        return Check("hub", "note", "no model hub can be reached from here", remedy)
    return Check("hub", "ok", "a model hub can be reached")


def check_vocabulary() -> Check:
    cache = _hub_cache() / "models--bert-base-uncased" / "snapshots"
    found = next(iter(sorted(cache.glob("*/vocab.txt"))), None)
    if found is None:
        message = f"bert-base-uncased's vocabulary is not in {cache.parent.parent}; stock LAVIS models need it"
        remedy = f"a reachable hub gives it at first use; without one: {OFFLINE_ROUTE}"
        return Check("vocabulary", "note", message, remedy)
    return Check("vocabulary", "ok", f"bert-base-uncased's vocabulary: {found}")


def check_nltk_data() -> Check:
    output, error = _run(
        f"import nltk\nfor name in {NLTK_DATA!r}:\n    try: nltk.data.find(name)\n    except LookupError: print(name)\n"
    )
    if error:
        return Check("nltk data", "problem", f"nltk does not import: {error}", "pip install nltk")
    if output:
        names = " ".join(name.split("/")[1] for name in output.split())
        remedy = f"python -m nltk.downloader {names}, or set NLTK_DATA to a folder that holds them"
        return Check("nltk data", "note", f"missing: {names} (keywords for the codebook)", remedy)
    return Check("nltk data", "ok", "tagger and stop words found")


def check_cache_root() -> Check:
    root = cache_root()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        message = f"{root} cannot be written to ({error.strerror})"
        return Check("cache root", "problem", message, f"export {CACHE_ROOT}=/a/folder/of/yours, or set run.cache_root")
    return Check("cache root", "ok", f"LAVIS's cache root {root} can be written to")


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_lavis,
    check_numpy,
    check_torch,
    check_transformers,
    check_faiss,
    check_lavis_import,
    check_cuda,
    check_hub,
    check_vocabulary,
    check_nltk_data,
    check_cache_root,
)


def examine(checks: Sequence[Callable[[], Check]] = CHECKS, *, as_json: bool = False) -> int:
    """Run the checks and print what they found.

    Returns:
        Exit status: 0 if nothing is a problem, else 1.
    """
    findings = []
    try:
        for check in checks:
            findings.append(check())
            if not as_json:
                print(describe(findings[-1]), flush=True)
    finally:
        _PYTHON.close()
    problems = sum(finding.status == "problem" for finding in findings)
    if as_json:
        print(json.dumps({"problems": problems, "checks": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print(f"\n{problems} problem(s)." if problems else "\nNo problems.")
    return 1 if problems else 0


def describe(finding: Check) -> str:
    """One finding as lines of text."""
    line = f"[{finding.status:^7}] {finding.name}: {finding.message}"
    return f"{line}\n          -> {finding.remedy}" if finding.remedy else line


def _run(code: str) -> tuple[str, str]:
    """Run Python code apart from this process: what it printed, and the last line of its error or ""."""
    return _PYTHON.run(code)


def _error_of(code: str) -> str:
    return _run(code)[1]


def _hub_answers(seconds: float = 3.0) -> bool:
    # In a thread, because a name server that does not answer is not covered by the socket's timeout.
    answers: list[bool] = []

    def connect() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(HUB, timeout=seconds).close()
            answers.append(True)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers)


def _hub_cache() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
