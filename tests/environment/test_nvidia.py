"""The driver's version, told by a stand-in for nvidia-smi."""

import pytest

from lavis_tldr.environment import doctor
from lavis_tldr.environment.nvidia import driver_version, wheel_remedy


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put a program in its place that prints something and ends with a status."""

    def put(printed: str, status: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{printed}'\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return put


def test_version(nvidia_smi):
    nvidia_smi("535.104.05\\n535.104.05")
    assert driver_version() == "535.104.05"


@pytest.mark.parametrize(("printed", "status"), [("NVIDIA-SMI has failed", 9), ("No devices were found", 0)])
def test_no_driver_or_no_gpu(nvidia_smi, printed, status):
    nvidia_smi(printed, status)
    assert driver_version() == ""


def test_no_program(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver_version() == ""


@pytest.mark.parametrize(
    ("driver", "words", "absent"),
    [
        ("470.82.01", "driver to 580", "whl"),
        ("535.104.05", "whl/cu126", "cu130"),
        ("580.65.06", "whl/cu130", "update"),
    ],
)
def test_the_wheel_that_goes_with_a_driver(driver, words, absent):
    assert words in wheel_remedy(driver)
    assert absent not in wheel_remedy(driver)


@pytest.mark.parametrize(("build", "status"), [("13.0", "problem"), ("none", "note")])
def test_doctor_names_the_driver_that_torch_passes_over(nvidia_smi, monkeypatch, build, status):
    nvidia_smi("535.104.05")
    monkeypatch.setattr(doctor, "_run", lambda *_: (f"0 {build}", ""))
    check = doctor.check_cuda()
    assert (check.status, "535.104.05" in check.message) == (status, True)
    assert "cu126" in check.remedy
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert "driver 535" not in doctor.check_cuda().message
