"""Results become tables like the paper's: seeds merged, differences to a baseline, the paper's numbers beside them."""

import csv

import pytest

from lavis_tldr import cli
from lavis_tldr.suite.evaluations import EVALUATIONS
from lavis_tldr.suite.latex import escape, latex_table
from lavis_tldr.suite.results import Result, result_folder, write_result
from lavis_tldr.suite.rows import Column, build_rows
from lavis_tldr.suite.tables import build_tables, read_paper, write_tables


def result(label="full", seed=0, name="imagenet", split="val", acc=10.0, family="CLIP", **about) -> Result:
    reported = [{"name": "acc", "title": "top-1", "unit": "%", "higher_is_better": True}]
    told = {
        "evaluation": name,
        "label": label,
        "seed": seed,
        "family": family,
        "arch": "clip_pretrain",
        "protocol": "zero-shot",
        "figures": {split: {"acc": acc}},
        "checkpoint": f"{label}/{seed}.pth",
        "digest": f"{label}{seed}",
        "settings": {split: {"run": {"batch_size_eval": 32}}},
        "title": EVALUATIONS[name].title if name in EVALUATIONS else name,
        "reported": reported,
        "initialisation": "random",
        "account": {"num_pairs": 100 * (seed + 1), "samples_seen": 1000, "device_hours": 2.0},
    }
    return Result(**{**told, **about})


def test_seeds_are_merged_and_compared_with_the_baseline(tmp_path):
    results = [result("full", seed, acc=acc) for seed, acc in enumerate([10.0, 12.0, 14.0])]
    results += [result("reduced", seed, acc=acc) for seed, acc in enumerate([13.0, 15.0])]
    results += [result("reduced", 0, acc=50.0, family="ViLT"), result("random", 0, acc=11.0, protocol="fine-tuned")]
    md, table, tex = write_tables(results, tmp_path, baseline="full")
    text = md.read_text()
    # 10, 12, 14: mean 12, deviation 2, each set's size 100, 200, 300; 13, 15: mean 14, deviation sqrt(2)
    assert "| CLIP | full | 200 | zero-shot | 12.0 ± 2.0 | - | - |" in text
    assert "| CLIP | reduced | 150 | zero-shot | 14.0 ± 1.4 (+2.0) | - | - |" in text
    # nothing to compare with: another family, another protocol
    assert "| ViLT | reduced | 100 | zero-shot | 50.0 | - | - |" in text
    assert "| CLIP | random | 100 | fine-tuned | 11.0 | - | - |" in text
    assert "| CLIP | paper: TL;DR-CC3M | 0.67M | zero-shot | 61.4 | 65.0 | 65.7 |" in text
    assert "paper: " in text and "BLIP | paper" not in text
    assert "| CLIP | full | zero-shot | 200 | 1,000 | 2.00 | 3 | random |" in text
    with open(table, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "ours"]
    mine = next(row for row in rows if (row["model"], row["trained_on"]) == ("CLIP", "reduced"))
    assert [mine[key] for key in ("table", "mean", "deviation", "seeds", "difference")] == [
        "6",
        "14.0",
        "1.4142",
        "2",
        "2.0",
    ]
    assert r"14.0 $\pm$ 1.4 (+2.0)" in tex.read_text()


def test_a_row_is_a_label_and_a_protocol_and_only_seeds_are_merged():
    rows = build_rows([result("b"), result("a"), result("a", 1, family="BLIP"), result("b", name="imagenet_a")])
    assert [(row.family, row.label, len(row.figures)) for row in rows] == [
        ("CLIP", "b", 2),
        ("CLIP", "a", 1),
        ("BLIP", "a", 1),
    ]
    with pytest.raises(ValueError, match="two results of imagenet with seed 0.*--seed"):
        build_rows([result(), result(checkpoint="other.pth")])


def test_unlike_settings_are_told(tmp_path):
    results = [result("full"), result("reduced", settings={"val": {"run": {"batch_size_eval": 8}}})]
    text = write_tables(results, tmp_path)[0].read_text()
    assert "Note: imagenet, CLIP: full and reduced were measured with unlike settings" in text
    assert "batch_size_eval: 32 -> 8" in text
    # how the models were made is the rows' own matter
    results[1] = result("reduced", settings={"val": {"run": {"batch_size_eval": 32}, "model": {"image_size": 9}}})
    assert "Note" not in write_tables(results, tmp_path)[0].read_text()


def test_what_is_in_none_of_the_papers_tables_has_its_own():
    tables = build_tables(build_rows([result(), result(name="photos", split="test")]))
    assert [(table.number, len(table.rows)) for table in tables] == [("6", 1), ("other", 1)]
    assert list(tables[1].columns) == [Column("photos", "test", "acc")]


def test_table_8_is_of_blip_alone():
    numbers = {
        family: [t.number for t in build_tables(build_rows([result(family=family)]))] for family in ("CLIP", "BLIP")
    }
    assert numbers == {"CLIP": ["6"], "BLIP": ["6", "8"]}


def test_the_papers_columns_are_those_of_our_evaluations():
    paper = read_paper()
    assert list(paper) == ["3", "4", "5", "6", "8"]
    for number, (columns, rows) in paper.items():
        for column in columns:
            evaluation = EVALUATIONS[column.evaluation]
            assert number in evaluation.tables
            assert column.figure in [figure.name for figure in evaluation.figures]
            # what a server scores is the paper's alone
            assert column.split in {split.title for split in evaluation.splits} | {"test-dev", "test-std"}
        assert rows


@pytest.mark.parametrize(
    ("number", "labels", "printed"),
    [  # differences to the full set as the paper prints them, in the order of its columns
        ("4", ("TL;DR-CC3M", "CC3M"), [1.6, 1.4, 1.7, 1.8, 2.7, 2.4, 3.1, 0.8, 2.2]),
        ("8", ("TL;DR-CC12M", "CC12M"), [0.6, -0.4, 0.8, 1.0, -1.5]),
        ("8", ("TL;DR-YFCC15M", "YFCC15M"), [-0.2, 1.1, 0.8, 1.9, -0.5]),
        ("8", ("TL;DR-LAION40M(128)", "LAION40M(128)"), [1.8, 1.4, -0.4, 1.2, -0.9]),
    ],
)
def test_the_papers_numbers_differ_as_it_says(number, labels, printed):
    columns, rows = read_paper()[number]
    reduced, full = (next(row for row in rows if row.label == label) for label in labels)
    assert [round(reduced.figures[c] - full.figures[c], 1) for c in columns] == printed


def test_latex_escapes_and_spans_groups():
    assert escape("50% of a_b & ±1") == r"50\% of a\_b \& $\pm$1"
    lines = latex_table("A & B", ["", "COCO", "COCO", "VQA"], ["model", "R@1", "R@5", "acc"], [["x", "1", "2", "3"]])
    assert r"\begin{tabular}{lrrr}" in lines
    assert r" & \multicolumn{2}{c}{COCO} & \multicolumn{1}{c}{VQA} \\" in lines
    assert r"x & 1 & 2 & 3 \\" in lines


def test_the_command(tmp_path, capsys):
    for label in ("full", "reduced"):
        folder = result_folder(tmp_path / "out", label, "clip_pretrain", "zero-shot", 0)
        write_result(folder / "imagenet.json", result(label))
    (tmp_path / "out" / "full" / "clip_pretrain_zero-shot_seed0" / "other.json").write_text("[1]")
    assert cli.main(["evaluations", str(tmp_path / "out"), "--baseline", "full"]) == 0
    assert "| CLIP | reduced | 100 | zero-shot | 10.0 (+0.0) |" in capsys.readouterr().out
    assert cli.main(["evaluations", str(tmp_path / "out"), "--to", str(tmp_path / "tables")]) == 0
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        f"evaluations.{suffix}" for suffix in ("csv", "md", "tex")
    ]
    assert cli.main(["evaluations", str(tmp_path / "out"), "--baseline", "ful"]) == 2
    assert "did you mean 'full'" in capsys.readouterr().err
    (tmp_path / "out" / "full" / "clip_pretrain_zero-shot_seed0" / "imagenet.json").write_text("{")
    assert cli.main(["evaluations", str(tmp_path / "out")]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert cli.main(["evaluations", str(tmp_path / "tables")]) == 2
    assert "no result below" in capsys.readouterr().err
