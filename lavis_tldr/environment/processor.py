"""What the processor can do."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"}  # x86's, and ARM's last


def emulates_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether bfloat16 on this processor is emulated: right, but many times slower than float32.

    Args:
        cpuinfo: Where Linux describes the processor. Where there is no such file, nothing is known and nothing said.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    described = [line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return bool(described) and not _BFLOAT16.intersection(described[0])
