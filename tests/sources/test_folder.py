"""Images in a folder with their captions beside them."""

import pytest

from lavis_tldr.sources import build_source


@pytest.fixture
def folder(tmp_path, encoded):
    (tmp_path / "deep").mkdir()
    files = {
        "b.jpg": encoded(),
        "b.txt": b" a red kite \n",
        "a.PNG": encoded(file_format="PNG"),
        "deep/c.webp": encoded(file_format="WEBP"),
        "deep/c.txt": b"\n",
        "notes.md": b"no image",
        "lonely.txt": b"a caption without image",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def records(source):
    return [record for part in source.parts for record in source.read(part)]


def test_every_image_is_a_record(folder):
    found = records(build_source({"format": "folder", "root": str(folder)}))
    assert [(r.key, r.caption, r.error) for r in found] == [
        ("a.PNG", "", "missing caption"),
        ("b.jpg", "a red kite", ""),
        ("deep/c.webp", "", "empty caption"),
    ]
    assert found[1].image == (folder / "b.jpg").read_bytes()
    assert all(r.image_key == r.key and r.location.path == str(folder / r.key) for r in found)


def test_parts_are_slices_of_the_same_records(folder):
    whole, sliced = (build_source({"format": "folder", "root": str(folder), "part_size": n}) for n in (10, 2))
    assert [part.name for part in sliced.parts] == ["00000", "00001"]
    assert records(sliced) == records(whole)


@pytest.mark.parametrize("change", ["caption", "image"])
def test_what_changes_is_seen(folder, change):
    source = build_source({"format": "folder", "root": str(folder)})
    before = source.digest(source.parts[0])
    source.check_unchanged(source.parts[0])
    (folder / ("b.txt" if change == "caption" else "b.jpg")).write_bytes(b"another")
    with pytest.raises(ValueError, match="has changed since this run began"):
        source.check_unchanged(source.parts[0])
    anew = build_source({"format": "folder", "root": str(folder)})
    assert anew.digest(anew.parts[0]) != before


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no image \(a file that ends in jpg, jpeg"):
        build_source({"format": "folder", "root": str(tmp_path)})
    with pytest.raises(ValueError, match="is no folder"):
        build_source({"format": "folder", "root": str(tmp_path / "absent")})
