"""NVIDIA's driver, asked without torch, which is silent where the driver is too old for it."""

from __future__ import annotations

import shutil
import subprocess

# What PyTorch's wheels need at least: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes (CUDA 13, CUDA 12).
CUDA_13_DRIVER = 580
CUDA_12_DRIVER = 525
_ASK = ("--query-gpu=driver_version", "--format=csv,noheader")


def driver_version() -> str:
    """The driver's version, such as "535.104.05", where there is a driver with a GPU; else ""."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        told = subprocess.run([program, *_ASK], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = told.stdout.split()
    return lines[0] if told.returncode == 0 and lines and lines[0][0].isdigit() else ""


def wheel_remedy(driver: str) -> str:
    """What to install where a driver works and torch sees no GPU."""
    major = int(driver.split(".")[0])
    newer = f"update the NVIDIA driver to {CUDA_13_DRIVER} or newer"
    if major < CUDA_12_DRIVER:
        return newer
    wheel = "cu126" if major < CUDA_13_DRIVER else "cu130"
    index = f"pip install --force-reinstall torch torchvision 'numpy<2' --index-url https://download.pytorch.org/whl/{wheel}"
    return index if major >= CUDA_13_DRIVER else f"{index}   (or {newer})"
