"""An export taken as a source again: the same keys, captions and images, whatever way out and in."""

import pyarrow.parquet as pq
import pytest
from ledgers import HOSTILE_KEYS, file_run, files_in, picture, source_run

from lavis_tldr.exports.export import export_set
from lavis_tldr.keep_list import KeepList
from lavis_tldr.sources import build_source, table_images


def records_of(source, images=True):
    return [record for part in source.parts for record in source.read(part, images=images)]


def exported(run, out):
    """A source of the Parquet tables that a run is exported to."""
    export_set(run, out, "parquet")
    return build_source({"format": "parquet", "tables": str(out / "*.parquet")})


def test_parquet_comes_back(tmp_path):
    greys = {key: i for i, key in enumerate(HOSTILE_KEYS)}
    source = exported(file_run(tmp_path / "run", greys, part_size=7), tmp_path / "out")
    found = {record.image_key: (record.caption, record.image, record.error) for record in records_of(source)}
    cleaned = {"a\nb": r"a\nb", "a\rb\u2028c": r"a\rb\u2028c"}
    assert found == {cleaned.get(key, key): (f"{key} both".strip(), picture(grey), "") for key, grey in greys.items()}


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_a_set_of_a_parquet_source_is_exported_with_the_images_own_bytes(run, tmp_path, format):
    once = source_run(tmp_path / "once", exported(run, tmp_path / "first"), dropped={"002"})
    export_set(once, tmp_path / "second", format)
    options = {"webdataset": {"tars": "*.tar"}, "parquet": {"tables": "*.parquet"}}[format]
    ((name, pattern),) = options.items()
    found = records_of(build_source({"format": format, name: str(tmp_path / "second" / pattern)}))
    assert [(r.key, r.caption, r.image) for r in found] == [
        (key, f"{key} both", picture(int(key))) for key in ("000", "003", "011")
    ]


def test_its_keep_list_names_no_tar(run, tmp_path):
    once = source_run(tmp_path / "once", exported(run, tmp_path / "first"))
    export_set(once, tmp_path / "keys", "keys")
    keep = KeepList(tmp_path / "keys")
    assert "003" in keep and "001" not in keep
    assert set(keep._parts) == {""}


@pytest.mark.parametrize("format", ["webdataset", "parquet", "lavis"])
def test_a_table_written_anew_is_refused(run, tmp_path, format):
    once = source_run(tmp_path / "once", exported(run, tmp_path / "first"))
    table = pq.read_table(tmp_path / "first/a.parquet")
    pq.write_table(table.slice(1), tmp_path / "first/a.parquet")
    with pytest.raises(ValueError, match=r"'003': .*a.parquet has 2 rows, but an image was recorded in row 2"):
        export_set(once, tmp_path / "second", format)
    assert not [name for name in files_in(tmp_path / "second") if name.startswith("a.")]


def test_in_place_each_image_is_decoded_once(run, tmp_path, monkeypatch):
    once = source_run(tmp_path / "once", exported(run, tmp_path / "first"))
    read = []
    sequential = table_images._ImageColumn._read
    monkeypatch.setattr(
        table_images._ImageColumn, "_read", lambda self, group: read.append(group) or sequential(self, group)
    )
    table_images._begin_anew()
    export_set(once, tmp_path / "second", "webdataset")
    assert read == [0, 0]  # the only row group of either table
