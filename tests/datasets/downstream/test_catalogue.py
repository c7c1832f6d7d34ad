"""`lavis-tldr data` says which files of which set are there, and converts what can be."""

from pathlib import Path

import pytest

from lavis_tldr import cli
from lavis_tldr.datasets.downstream import catalogue
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile


def make(folder: Path) -> list[str]:
    (folder / "list.json").write_text("[]")
    return ["list.json: 0 rows"]


TOY = DownstreamSet(
    "toy",
    "Toy set",
    "CC0",
    (
        NeededFile("official.json", "the annotations", "https://example.org/toy"),
        NeededFile("val/*/*.JPEG", "the photos", "https://example.org/photos"),
        NeededFile("list.json", "the list", "https://example.org/toy", made=True),
    ),
    make,
)


@pytest.fixture
def root(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "SETS", {"toy": TOY, "plain": DownstreamSet("plain", "Plain", "none", ())})
    monkeypatch.setenv(catalogue.ROOT_VARIABLE, str(tmp_path))
    (tmp_path / "toy" / "val" / "n01").mkdir(parents=True)
    return tmp_path


def test_check_tells_found_and_missing(root, capsys):
    (root / "toy" / "val" / "n01" / "a.JPEG").touch()
    (root / "toy" / "val" / "n01" / "b.JPEG").touch()
    assert cli.main(["data", "check", "toy"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"toy  Toy set, in {root / 'toy'}",
        "  terms: CC0",
        "  MISSING  official.json: the annotations; https://example.org/toy",
        "  found    val/*/*.JPEG (2)",
        "  MISSING  list.json: the list; `lavis-tldr data convert toy` makes it",
    ]
    assert cli.main(["data", "check"]) == 0
    assert "plain  Plain" in capsys.readouterr().out
    assert cli.main(["data", "check", "toi"]) == 2
    assert "did you mean 'toy'" in capsys.readouterr().err


def test_convert(root, capsys):
    assert cli.main(["data", "convert", "toy"]) == 0
    assert capsys.readouterr().out == "list.json: 0 rows\n" and (root / "toy" / "list.json").is_file()
    assert cli.main(["data", "convert", "plain"]) == 2
    assert "nothing to convert" in capsys.readouterr().err
    assert cli.main(["data", "convert", "toy", "--data", str(root / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_sample_of_a_set_counts_as_the_set(root):
    assert catalogue.set_folder(TOY, root) == root / "toy"
    (root / "toy").rename(root / "toy-sample")
    assert catalogue.set_folder(TOY, root) == root / "toy-sample"
    (root / "toy").mkdir()
    assert catalogue.set_folder(TOY, root) == root / "toy"


def test_an_empty_folder_is_a_missing_one(root):
    folder = root / "toy"
    assert catalogue.count_files(folder, "val/n01") == 0
    (folder / "val" / "n01" / "a.JPEG").touch()
    assert catalogue.count_files(folder, "val/n01") == 1


def test_convert_without_the_official_files(monkeypatch, tmp_path, capsys):
    (tmp_path / "nocaps").mkdir()
    assert cli.main(["data", "convert", "nocaps", "--data", str(tmp_path)]) == 2
    assert "nocaps_val_4500_captions.json" in capsys.readouterr().err


def test_the_data_root(monkeypatch):
    monkeypatch.delenv(catalogue.ROOT_VARIABLE, raising=False)
    assert catalogue.data_root() == Path("data") and catalogue.data_root("there") == Path("there")
    monkeypatch.setenv(catalogue.ROOT_VARIABLE, "here")
    assert catalogue.data_root() == Path("here") and catalogue.data_root("there") == Path("there")


def test_every_set_is_told_of_in_full():
    for name, downstream in catalogue.SETS.items():
        assert downstream.name == name and downstream.title and downstream.terms and downstream.files
        assert any(file.made for file in downstream.files) == (downstream.convert is not None)
        assert all(file.what and (file.made or file.origin.startswith("http")) for file in downstream.files)
