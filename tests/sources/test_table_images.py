"""Parquet tables with the images inside: Hugging Face's struct of bytes and path, and img2dataset's own output."""

import json
import multiprocessing
import os
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lavis_tldr.sources import ParquetSource, build_source, table_images
from lavis_tldr.sources.image_bytes import image_problem, read_image_bytes
from lavis_tldr.sources.record import ImageLocation

LOST = "HTTP Error 404: Not Found"
IMG2DATASET = pa.schema(
    [
        *((name, pa.string()) for name in ("url", "caption", "key", "status", "error_message")),
        *((name, pa.int32()) for name in ("width", "height", "original_width", "original_height")),
        *((name, pa.string()) for name in ("exif", "sha256")),
    ]
)


def images_of(encoded, count):
    """As many different images; the lengths of their bytes differ, too."""
    return [encoded((i, 0, 0), "PNG", size=(4 + i, 4)) for i in range(count)]


def write_struct(path, images, row_group_size=None, **columns):
    """A table as Hugging Face's ``datasets`` writes images."""
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(images)]
    table = pa.table({"image": pa.array(values, struct), "caption": [f"c{i}" for i in range(len(images))], **columns})
    pq.write_table(table, path, row_group_size=row_group_size)
    return str(path)


def write_img2dataset(path, images, suffix="jpg"):
    """A shard as img2dataset's ``--output_format parquet`` writes it; None for an image that was not downloaded."""
    rows = []
    for i, data in enumerate(images):
        row = dict.fromkeys(IMG2DATASET.names) | {"key": f"00000{i:04d}", "caption": f"c{i}", "url": f"http://x/{i}"}
        row |= {"status": "success"} if data else {"status": "failed_to_download", "error_message": LOST}
        rows.append(row | {suffix: data})
    pq.write_table(pa.Table.from_pylist(rows, IMG2DATASET.append(pa.field(suffix, pa.binary()))), path)
    return str(path)


def records_of(source, images=True):
    return [record for part in source.parts for record in source.read(part, images=images)]


def test_a_struct_of_bytes_and_path(tmp_path, encoded):
    images = images_of(encoded, 3)
    path = write_struct(tmp_path / "t.parquet", images, key=["a", "b", "c"])
    source = build_source({"format": "parquet", "tables": path})
    found = records_of(source)
    assert [(r.key, r.image_key, r.caption, r.error, r.image) for r in found] == [
        (key, key, f"c{i}", "", images[i]) for i, key in enumerate("abc")
    ]
    assert [r.location for r in found] == [
        ImageLocation(f"{path}#parquet:image", i, len(data)) for i, data in enumerate(images)
    ]
    assert [read_image_bytes(r.location) for r in found] == images
    described = json.loads(json.dumps(source.describe()))
    assert (described["image"], described["image_root"], described["key"]) == ("image", None, "key")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_img2datasets_own_parquet(tmp_path, encoded, suffix):
    first, third = images_of(encoded, 2)
    path = write_img2dataset(tmp_path / "00000.parquet", [None, first, third], suffix)
    found = records_of(build_source({"format": "parquet", "tables": path}))
    assert [(r.key, r.caption, r.error, r.image) for r in found] == [
        ("000000000", "c0", f"not downloaded: {LOST}", None),
        ("000000001", "c1", "", first),
        ("000000002", "c2", "", third),
    ]
    assert found[0].location is None
    assert found[2].location == ImageLocation(f"{path}#parquet:{suffix}", 2, len(third))


def test_without_images_the_records_are_the_same(tmp_path, encoded):
    path = write_struct(tmp_path / "t.parquet", [*images_of(encoded, 2), None, b""])
    source = ParquetSource(path)
    full = records_of(source)
    assert records_of(source, images=False) == [replace(record, image=None) for record in full]
    assert [(r.error, r.location is None) for r in full] == [("", False)] * 2 + [("missing image", True)] * 2


def test_rows_without_a_column_of_keys_are_named_by_their_place(tmp_path, encoded):
    """Hugging Face's ``path`` is no identity: it may be null, or the same in each row."""
    for name in ("x/train", "y/train"):
        (tmp_path / name).parent.mkdir()
        write_struct(tmp_path / f"{name}.parquet", images_of(encoded, 3))
    for part_size in (2, 10):  # it is the table's row, not the part's
        source = ParquetSource(str(tmp_path / "?" / "train.parquet"), part_size=part_size)
        keys = [f"{table}[{row}]" for table in ("00000_train", "00001_train") for row in range(3)]
        assert [record.key for record in records_of(source)] == keys


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_without_a_struct_are_told_from_paths(tmp_path, encoded, kind):
    (image,) = images_of(encoded, 1)
    (tmp_path / "a.png").write_bytes(image)
    path = str(tmp_path / "t.parquet")
    table = {"image": pa.array([None, image], kind), "caption": ["x", "y"]}
    pq.write_table(pa.table(table), path)
    assert [record.image for record in records_of(ParquetSource(path))] == [None, image]
    assert [record.image for record in records_of(ParquetSource(path, image="image"))] == [None, image]
    pq.write_table(pa.table(table | {"image": pa.array([None, b"a.png"], kind)}), path)
    assert [record.image for record in records_of(ParquetSource(path, str(tmp_path)))] == [None, image]


def test_a_column_of_bytes_can_be_named(tmp_path, encoded):
    one, other = images_of(encoded, 2)
    picture = pa.array([{"bytes": other}], pa.struct([("bytes", pa.large_binary())]))
    path = write_struct(tmp_path / "t.parquet", [one], picture=picture, text=["words"])
    (record,) = records_of(ParquetSource(path, image="picture", caption="text"))
    assert (record.image, record.caption) == (other, "words")
    assert read_image_bytes(record.location) == other


def test_several_captions_share_the_image(tmp_path, encoded):
    (image,) = images_of(encoded, 1)
    path = write_struct(tmp_path / "t.parquet", [image], caption=pa.array([["one", "two"]]), key=["k"])
    one, two = records_of(ParquetSource(path))
    assert (one.key, two.key, one.image_key, one.location) == ("k#0", "k#1", "k", two.location)


def test_slices_of_a_long_table(tmp_path, encoded):
    images = images_of(encoded, 10)
    source = ParquetSource(write_struct(tmp_path / "t.parquet", images, row_group_size=3), part_size=4)
    assert [part.name for part in source.parts] == ["t-00000", "t-00001", "t-00002"]
    assert [record.image for record in source.read(source.parts[1])] == images[4:8]


def test_a_table_of_paths_needs_the_root(tmp_path):
    pq.write_table(pa.table({"image": ["a.jpg"], "caption": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"lacks 'image_root', .* the image paths \{image\} of .*t\.parquet start"):
        build_source({"format": "parquet", "tables": str(tmp_path / "t.parquet")})


def test_where_nothing_fits_the_columns_are_listed(tmp_path):
    pq.write_table(pa.table({"url": ["x"], "caption": ["x"], "jpeg2000": [b"x"]}), tmp_path / "t.parquet")
    with pytest.raises(
        ValueError, match="has the columns url, caption, jpeg2000; expected .*image_path, .* or one of jpg"
    ):
        ParquetSource(str(tmp_path / "t.parquet"))


def test_a_later_table_without_images_is_refused(tmp_path, encoded):
    write_struct(tmp_path / "0.parquet", images_of(encoded, 1))
    pq.write_table(pa.table({"image": ["a.jpg"], "caption": ["x"]}), tmp_path / "1.parquet")
    with pytest.raises(ValueError, match=r"1\.parquet has the columns image, caption, and no images in 'image', where"):
        ParquetSource(str(tmp_path / "*.parquet"))


def test_a_later_table_may_lack_all_its_images(tmp_path, encoded):
    (image,) = images_of(encoded, 1)
    for name, found in (("0", image), ("1", None)):
        pq.write_table(pa.table({"image": pa.array([found], pa.binary()), "caption": ["x"]}), tmp_path / name)
    found = records_of(ParquetSource([str(tmp_path / "0"), str(tmp_path / "1")]))
    assert [(record.image, record.error) for record in found] == [(image, ""), (None, "missing image")]


def test_the_digest_is_of_table_and_slice(tmp_path, encoded):
    images = images_of(encoded, 4)

    def digests():
        source = ParquetSource(path, part_size=2)
        return [source.digest(part) for part in source.parts]

    path = write_struct(tmp_path / "t.parquet", images)
    before = digests()
    assert len(set(before)) == 2 and digests() == before
    write_struct(tmp_path / "t.parquet", images[::-1])
    assert not set(digests()) & set(before)


@pytest.fixture
def long_table(tmp_path, encoded):
    """Images of a table in row groups of 7, and their places."""
    images = images_of(encoded, 30)
    path = write_struct(tmp_path / "t.parquet", images, row_group_size=7)
    return images, [ImageLocation.in_table(path, "image", i, len(data)) for i, data in enumerate(images)]


@pytest.mark.parametrize("budget", [1, 2000, table_images.HELD_BYTES])
@pytest.mark.parametrize("step", [1, -1, 7, 11, -13])
def test_rows_are_read_in_any_order(long_table, monkeypatch, budget, step):
    images, places = long_table
    monkeypatch.setattr(table_images, "HELD_BYTES", budget)
    monkeypatch.setattr(table_images, "BATCH_BYTES", 300)
    order = [i * step % 30 for i in range(30)]
    assert [read_image_bytes(places[i]) for i in order] == [images[i] for i in order]


def test_in_order_each_row_is_decoded_once(long_table, monkeypatch):
    images, places = long_table
    monkeypatch.setattr(table_images, "BATCH_BYTES", 300)
    monkeypatch.setattr(table_images, "HELD_BYTES", 1)
    decoded = []
    read = pq.ParquetFile.iter_batches

    def count(*args, **named):
        for batch in read(*args, **named):
            decoded.append(len(batch))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", count)
    assert [read_image_bytes(place) for place in places] == images
    assert sum(decoded) == 30 and max(decoded) < 7  # batches are bounded, too


def test_processes_forked_with_a_table_open(long_table):
    images, places = long_table
    assert read_image_bytes(places[3]) == images[3]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(read_image_bytes, places) == images
    assert read_image_bytes(places[4]) == images[4]


def test_a_table_written_anew_is_noticed(long_table):
    images, places = long_table
    assert read_image_bytes(places[0]) == images[0]
    path = places[0].file
    write_struct(path, images[10:])
    os.utime(path, (1, 1))
    with pytest.raises(ValueError, match=r"t\.parquet has .* bytes in row 0 of 'image', but an image of .* was"):
        read_image_bytes(places[0])
    with pytest.raises(ValueError, match=r"t\.parquet has 20 rows, but an image was recorded in row 25"):
        read_image_bytes(places[25])
    pq.write_table(pa.table({"other": [1] * 30}), path)
    with pytest.raises(ValueError, match=r"t\.parquet has no image bytes in a column 'image'"):
        read_image_bytes(places[0])


def test_presence_looks_at_the_tables_footer(long_table, monkeypatch):
    _, places = long_table
    assert image_problem(places[29], "any key") == ""
    assert image_problem(places[29], "any key", decode=True) == ""
    after_the_end = replace(places[0], offset=30)
    assert image_problem(after_the_end, "").startswith(
        f"{places[0].file} has 30 rows, but an image was recorded in row 30"
    )
    another = replace(places[0], size=1)
    assert image_problem(another, "") == ""  # seen when it is read
    assert "bytes in row 0" in image_problem(another, "", decode=True)
    os.truncate(places[0].file, 1000)
    assert "can't be read as Parquet" in image_problem(places[29], "")
    os.remove(places[0].file)
    assert image_problem(places[29], "") == f"{places[0].file} is gone or empty"
    with pytest.raises(ValueError, match=r"Cannot read the image in .*t\.parquet: No such file"):
        read_image_bytes(places[0])


def test_damaged_pages_are_told_as_a_table_that_breaks_off(tmp_path, encoded):
    path = tmp_path / "t.parquet"
    write_struct(path, images_of(encoded, 20), row_group_size=10)
    group = pq.read_metadata(path).row_group(1)
    (column,) = (i for i in range(group.num_columns) if group.column(i).path_in_schema == "image.bytes")
    content = bytearray(path.read_bytes())
    start = group.column(column).dictionary_page_offset or group.column(column).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    records = records_of(ParquetSource(str(path)))
    assert len(records) == 11
    assert records[-1].key == "t~damaged" and records[-1].error.startswith("damaged table: ")


def test_places_by_hand():
    place = ImageLocation.in_table("/data/0.parquet", "jpg", 7, 99)
    assert place == ImageLocation("/data/0.parquet#parquet:jpg", 7, 99)
    assert (place.file, place.column) == ("/data/0.parquet", "jpg")
    for other in (ImageLocation("/a#parquet:b.jpg"), ImageLocation("/data/0.tar", 512, 9)):
        assert (other.file, other.column) == (other.path, "")


def test_a_row_group_of_any_size_is_read_in_little_memory(tmp_path, monkeypatch):
    """Here one of 32 MiB, in pages of 1 MiB; some of what is asked of the pool goes to buffers and pages."""
    monkeypatch.setattr(table_images, "HELD_BYTES", 2**21)
    monkeypatch.setattr(table_images, "BATCH_BYTES", 2**20)
    images = [os.urandom(2**17) for _ in range(256)]
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"jpg": images, "caption": ["x"] * 256}), path, write_batch_size=8, use_dictionary=False)
    before, most = pa.total_allocated_bytes(), 0
    for row, image in enumerate(images):
        assert read_image_bytes(ImageLocation.in_table(path, "jpg", row, 2**17)) == image
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 2**23
