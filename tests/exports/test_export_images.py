import os

import pytest

from lavis_tldr.exports.images import export_images, safe_name
from lavis_tldr.sources.record import ImageLocation


@pytest.fixture
def image_at(tmp_path, encoded):
    """Write an image file outside the export folder and return its location."""

    def write(name, colour="red", file_format="JPEG"):
        path = tmp_path / "source" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(colour, file_format))
        return ImageLocation(str(path))

    return write


def _files(folder):
    return sorted(
        os.path.relpath(os.path.join(place, name), folder) for place, _, names in os.walk(folder) for name in names
    )


def test_original_bytes_under_key_and_true_suffix(tmp_path, image_at, encoded):
    out = tmp_path / "out"
    images = [
        ("000000001", image_at("1")),
        ("000000002", image_at("2", file_format="PNG")),
        ("train/x.jpg", image_at("3")),
        ("y.JPEG", image_at("4")),
        ("z.jpg", image_at("5", file_format="PNG")),
    ]
    done = export_images(images, out)
    assert done.files == {
        "000000001": "000000001.jpg",
        "000000002": "000000002.png",
        "train/x.jpg": "train/x.jpg",
        "y.JPEG": "y.JPEG",
        "z.jpg": "z.jpg.png",
    }
    assert _files(out) == sorted(done.files.values())
    assert (out / "000000002.png").read_bytes() == encoded("red", "PNG")
    assert (done.num_written, done.num_skipped) == (5, 0)


def test_bytes_inside_a_tar(tmp_path, encoded):
    data = encoded("red")
    (tmp_path / "a.tar").write_bytes(b"head" + data + b"tail")
    export_images([("0", ImageLocation(str(tmp_path / "a.tar"), 4, len(data)))], tmp_path / "out")
    assert (tmp_path / "out" / "0.jpg").read_bytes() == data


def test_whole_files_are_skipped_and_others_mended(tmp_path, image_at, encoded):
    images = [("a", image_at("a")), ("b", image_at("b", "blue")), ("a", image_at("a"))]
    export_images(images, tmp_path / "out")
    (tmp_path / "out" / "b.jpg").write_bytes(encoded("blue")[:50])
    done = export_images(images, tmp_path / "out")
    assert (done.num_written, done.num_skipped) == (1, 1)
    assert (tmp_path / "out" / "b.jpg").read_bytes() == encoded("blue")


def test_a_lost_image_is_an_error_of_its_key_only(tmp_path, image_at):
    lost = ImageLocation(str(tmp_path / "lost.jpg"))
    done = export_images([("a", lost), ("b", image_at("b"))], tmp_path / "out")
    assert done.files == {"b": "b.jpg"}
    assert list(done.errors) == ["a"] and "lost.jpg" in done.errors["a"]


def test_two_keys_never_share_a_file(tmp_path, image_at):
    done = export_images([("a", image_at("1")), ("a.jpg", image_at("2", "blue"))], tmp_path / "out")
    assert done.files == {"a": "a.jpg", "a.jpg": "a.jpg.jpg"}


@pytest.mark.parametrize(
    "key", ["../x", "/etc/x", "..", "a/../../x", "a//b", ".hidden", "a\\b", "a\x00b", "c:d", "é" * 200]
)
def test_nothing_is_written_outside(tmp_path, image_at, key):
    out = tmp_path / "out"
    before = _files(tmp_path)
    done = export_images([(key, image_at("1"))], out)
    assert _files(out) == [done.files[key]]
    assert set(_files(tmp_path)) - set(before) == {"source/1", os.path.join("out", done.files[key])}


def test_safe_names_by_hand():
    assert safe_name("00000/000000012#1") == "00000/000000012#1"
    assert safe_name("../x y") == "%2E./x%20y"
    assert safe_name("/a") == "%_/a"
    assert safe_name("50%") == "50%25"
    assert safe_name("%2E.") != safe_name("..")
    long = safe_name("x" * 300)
    assert len(long) == 180 and long != safe_name("x" * 301)


def test_a_link_out_of_the_folder_is_refused(tmp_path, image_at):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="leads out of"):
        export_images([("a/x", image_at("1"))], tmp_path / "out")
    assert _files(tmp_path / "elsewhere") == []
