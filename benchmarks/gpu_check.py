"""Runs the GPU tests and the rates, each with its share of the time, and writes one JSON of both.

python benchmarks/gpu_check.py [OUT.json] [--device cuda] [--model-type base]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEST_SECONDS, RATE_SECONDS = 420, 150  # 10 minutes with what is around them


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path("gpu_check.json"), metavar="OUT.json")
    parser.add_argument("--device", default="cuda", help="cpu tries the check itself")
    parser.add_argument("--model-type", default="base", help="size of the captioner whose rates are measured")
    args = parser.parse_args()
    started = time.monotonic()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tests = run_tests(Path(folder), args.device)
        rates = run_rates(Path(folder), args.device, args.model_type)
    result = {"seconds": round(time.monotonic() - started), "tests": tests, "rates": rates}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(summary(result))
    print(f"Written to {args.out}")
    return 0 if tests["finished"] and rates["finished"] and not tests["failed"] else 1


def run_tests(folder: Path, device: str) -> dict:
    """Outcome and seconds of every test, by name; what failed, with the end of its message."""
    report = folder / "junit.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu", f"--junitxml={report}"]
    finished = run(command, TEST_SECONDS, {"LAVIS_TLDR_GPU_CHECK_DEVICE": device}, wanted=(0, 1))
    found = {"finished": finished and report.is_file(), "passed": {}, "skipped": {}, "failed": {}}
    if report.is_file():
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname', '').split('.')[-1]}::{case.get('name')}"
            wrong = case.find("failure") if case.find("failure") is not None else case.find("error")
            if wrong is not None:
                found["failed"][name] = (wrong.text or wrong.get("message") or "")[-2000:]
            elif (skipped := case.find("skipped")) is not None:
                found["skipped"][name] = skipped.get("message")
            else:
                found["passed"][name] = round(float(case.get("time")), 1)
    return found


def run_rates(folder: Path, device: str, model_type: str) -> dict:
    """What `gpu_rates.py` measured, as far as it came."""
    path = folder / "rates.json"
    options = ["--device", device, "--model-type", model_type]
    finished = run([sys.executable, "-W", "ignore", "benchmarks/gpu_rates.py", str(path), *options], RATE_SECONDS, {})
    return {"finished": finished, **(json.loads(path.read_text()) if path.is_file() else {})}


def run(command: list[str], limit: float, environment: dict[str, str], wanted: tuple[int, ...] = (0,)) -> bool:
    """Run a command in the repository; whether it came to its end in time with a status that is wanted."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **environment, "PYTHONPATH": path}
    try:
        return subprocess.run(command, cwd=ROOT, env=environment, timeout=limit).returncode in wanted
    except subprocess.TimeoutExpired:
        print(f"Stopped after {limit:.0f} s: {' '.join(command[:4])} ...", file=sys.stderr)
        return False


def summary(result: dict) -> str:
    """The result in a few lines."""
    tests, rates = result["tests"], result["rates"]
    lines = [f"GPU check in {result['seconds']} s on {rates.get('device', 'a device that no rate was measured on')}"]
    lines.append(", ".join(f"{len(tests[kind])} {kind}" for kind in ("passed", "failed", "skipped")))
    lines += [f"  failed: {name}" for name in tests["failed"]]
    lines += [f"  skipped: {name} ({why})" for name, why in tests["skipped"].items()]
    for name, rate in rates.items():
        if isinstance(rate, dict):
            memory = f", {rate['peak_gib']} GiB at most" if "peak_gib" in rate else ""
            lines.append(f"  {name}: {'out of memory' if 'out_of_memory' in rate else rate['rate']}{memory}")
    unfinished = [what for what in ("tests", "rates") if not result[what]["finished"]]
    return "\n".join([*lines, *(f"The {what} did not come to their end." for what in unfinished)])


if __name__ == "__main__":
    sys.exit(main())
