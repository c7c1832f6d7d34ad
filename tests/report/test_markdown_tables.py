import csv

import pytest

from lavis_tldr.report.tables import markdown_table, write_csv


def test_markdown():
    assert markdown_table(["arm", "pairs"], [["random", "1,790"], ["", "2"]]) == [
        "| arm | pairs |",
        "| --- | --- |",
        "| random | 1,790 |",
        "|  | 2 |",
    ]
    assert markdown_table(["arm"], []) == ["| arm |", "| --- |"]


def test_no_cell_breaks_its_row():
    assert markdown_table(["a|b"], [["no | such\nweights\r\n"]])[::2] == ["| a\\|b |", "| no \\| such weights |"]


def test_csv(tmp_path):
    records = [{"arm": "a, 10%", "note": 'said "no"\ntwice'}, {"note": "", "arm": "b"}]
    write_csv(tmp_path / "found.csv", records)
    with open(tmp_path / "found.csv", newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == records
    write_csv(tmp_path / "found.csv", [])
    assert (tmp_path / "found.csv").read_text().strip() == ""


def test_a_record_with_another_column_leaves_the_file_as_it_was(tmp_path):
    write_csv(tmp_path / "found.csv", [{"arm": "a"}])
    with pytest.raises(ValueError, match="pairs"):
        write_csv(tmp_path / "found.csv", [{"arm": "b"}, {"arm": "c", "pairs": 3}])
    assert (tmp_path / "found.csv").read_text().split() == ["arm", "a"]
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv"]
