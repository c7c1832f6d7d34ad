import pytest

from lavis_tldr.environment.processor import emulates_bfloat16


@pytest.mark.parametrize(
    ("cpuinfo", "emulates"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16\n", False),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", False),
        ("Features\t: fp asimd bf16 i8mm\n", False),
        ("Features\t: fp asimd\n", True),
        ("nothing of the kind\n", False),
    ],
)
def test_by_what_linux_says(tmp_path, cpuinfo, emulates):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert emulates_bfloat16(path) is emulates


def test_where_nothing_is_known_nothing_is_said(tmp_path):
    assert not emulates_bfloat16(tmp_path / "none")
