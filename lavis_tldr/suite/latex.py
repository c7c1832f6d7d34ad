"""Tables in LaTeX, for the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

_ESCAPED = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
}


def escape(text: str) -> str:
    """``text`` as LaTeX prints it."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def latex_table(caption: str, groups: Sequence[str], heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table.

    Args:
        caption: Above it.
        groups: What each column belongs to; neighbours of one group share a heading, "" has none.
        heads: Of each column.
        rows: Cells of each row.
    """
    spans = [(name, len(list(same))) for name, same in groupby(groups)]
    over = [
        rf"\multicolumn{{{count}}}{{c}}{{{escape(name)}}}" if name else " & " * (count - 1) for name, count in spans
    ]
    align = "".join("r" if name else "l" for name in groups)
    lines = [
        r"\begin{table}",
        rf"\caption{{{escape(caption)}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(over) + r" \\",
        _line(heads),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
