"""What refining did to the captions, read off a run folder made by hand."""

import subprocess
import sys

import pytest
from run_folders import BEST

from lavis_tldr.report.captions import caption_lines, caption_report


def test_a_gated_set_by_hand(run):
    facts = caption_report(run, "best")
    assert (facts["set"], facts["captions_from"], facts["scored_by"]) == (str(run / "best"), "gated", None)
    assert (facts["read"], facts["kept"]) == (8, 3)
    lines = caption_lines(facts)
    assert lines[:3] == [f"set         {run}/best", "captions    gated", "kept        3 of 8 records"]
    # "caption of KEY" and "made for KEY", of which the keys are no words.
    assert lines[4:7] == [
        "                     original  generated  refined",
        "  captions                  3          3        3",
        "  words each                2          2        2",
    ]
    usable = [alignment for cluster, _, alignment, *_ in BEST.values() if cluster >= 0]
    kept = [alignment for _, _, alignment, is_kept, *_ in BEST.values() if is_kept]
    assert lines[-5:] == [
        "                   scored    mean  from 0.1 on",  # the set's threshold
        f"  all originals         7     {sum(usable) / 7:.2g}       100.0%",
        f"  kept, original        3  {sum(kept) / 3:.4f}       100.0%",
        "  kept, generated       3    0.05         0.0%",
        f"  kept, refined         3  {sum(kept) / 3:.4f}       100.0%",
    ]


def test_a_set_without_scores(run):
    facts = caption_report(run / "paper")
    assert facts["alignment"]["source"] is None
    assert caption_lines(facts)[-1] == (
        "alignment   not scored (run.score_refined: True scores captions before and after)"
    )


def test_several_sets_want_a_name(run):
    with pytest.raises(ValueError, match="best, paper.*--name"):
        caption_report(run)


def test_they_are_measured_and_drawn_without_torch_and_lavis(run):
    code = (
        "import sys; sys.argv = ['lavis-tldr']\n"
        "from lavis_tldr.cli import main\n"
        f"main(['captions', {str(run / 'best')!r}, '--plot', {str(run / 'plot.png')!r}])\n"
        "print(sorted({'torch', 'lavis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert (run / "plot.png").read_bytes().startswith(b"\x89PNG")
