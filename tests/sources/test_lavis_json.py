import json
import os
from collections import Counter
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lavis_tldr.sources import LavisJsonSource, caption_columns, image_folder, json_list
from lavis_tldr.sources.keys import KeyRegister, clean_key
from lavis_tldr.sources.record import ImageLocation, clean_caption


@pytest.fixture
def root(tmp_path, encoded):
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name, colour in (("a.jpg", "red"), ("b.jpg", "blue"), ("sub/c.jpg", "green")):
        (folder / name).write_bytes(encoded(colour))
    (tmp_path / "outside.jpg").write_bytes(encoded("black"))
    return folder


@pytest.fixture
def source_of(tmp_path, root):
    def build(*lists, **options):
        paths = []
        for i, entries in enumerate(lists):
            path = tmp_path / f"annotations{i}.json"
            path.write_text(json.dumps(entries))
            paths.append(str(path))
        return LavisJsonSource(paths, str(root), **options)

    return build


def _digests(source):
    return [source.digest(part) for part in source.parts]


def _facts(source):
    return [(r.key, r.image_key, r.caption, r.error) for part in source.parts for r in source.read(part)]


def test_pairs_of_one_image_share_its_key(source_of, root, encoded):
    source = source_of(
        [
            {"image": "a.jpg", "caption": "one", "image_id": 7},
            {"image": "b.jpg", "caption": " only "},
            {"image": "a.jpg", "caption": "two"},
        ],
        [{"image": "sub/c.jpg", "caption": ["x", "y"]}, {"image": "a.jpg", "caption": "three"}],
    )
    assert _facts(source) == [
        ("a.jpg#0", "a.jpg", "one", ""),
        ("b.jpg", "b.jpg", "only", ""),
        ("a.jpg#1", "a.jpg", "two", ""),
        ("sub/c.jpg#0", "sub/c.jpg", "x", ""),
        ("sub/c.jpg#1", "sub/c.jpg", "y", ""),
        ("a.jpg#2", "a.jpg", "three", ""),
    ]
    first = next(source.read(source.parts[0]))
    assert first.image == encoded("red")
    assert first.location == ImageLocation(str(root / "a.jpg"))


def test_parts_are_slices_of_a_file(source_of):
    entries = [{"image": "a.jpg", "caption": str(i)} for i in range(5)]
    source = source_of(entries, entries[:1], part_size=2)
    assert [part.name for part in source.parts] == ["00000", "00001", "00002", "00003"]
    captions = [[record.caption for record in source.read(part)] for part in source.parts]
    assert captions == [["0", "1"], ["2", "3"], ["4"], ["0"]]
    # Read alone, a part gives the same keys as in a full pass.
    assert [record.key for record in source.read(source.parts[2])] == ["a.jpg#4"]


def test_bad_entries_are_named_not_dropped(source_of):
    source = source_of(
        [
            {"image": "a.jpg", "caption": "fine"},
            {"image": "gone.jpg", "caption": "x"},
            {"image": "b.jpg", "caption": " \x00 "},
            {"image": "sub/c.jpg"},
            {"image": "sub", "caption": "a folder"},
            {"caption": "no image"},
            {"image": 3, "caption": "a number"},
            {"image": "d.jpg", "caption": 3.5},
            {"image": "e.jpg", "caption": []},
            "text",
        ]
    )
    assert [(key, error) for key, _, _, error in _facts(source)] == [
        ("a.jpg", ""),
        ("gone.jpg", "missing image"),
        ("b.jpg", "empty caption"),
        ("sub/c.jpg", "missing caption"),
        ("sub", "missing image"),
        ("annotations0.json[5]", "missing image"),
        ("annotations0.json[6]", "missing image"),
        ("d.jpg", "missing image"),
        ("e.jpg", "missing image"),
        ("annotations0.json[9]", "not an annotation: a str"),
    ]


@pytest.mark.parametrize("path", ["../outside.jpg", "sub/../../outside.jpg", "..", "a\x00.jpg"])
def test_paths_that_leave_the_root_are_refused(source_of, path):
    ((_, _, _, error),) = _facts(source_of([{"image": path, "caption": "x"}]))
    assert error == "image path leaves the image root"


def test_absolute_path_is_refused_even_into_the_root(source_of, root):
    source = source_of([{"image": str(root / "a.jpg"), "caption": "x"}])
    (record,) = source.read(source.parts[0])
    assert record.error == "image path leaves the image root"
    assert record.image is None and record.location is None


def test_dots_that_stay_inside_are_fine(source_of):
    assert [error for *_, error in _facts(source_of([{"image": "sub/../a.jpg", "caption": "x"}]))] == [""]


def test_a_key_that_looks_like_a_numbered_one(source_of):
    source = source_of(
        [
            {"image": "a.jpg", "caption": "one"},
            {"image": "a.jpg", "caption": "two"},
            {"image": "a.jpg#1", "caption": "another file"},
        ]
    )
    keys = [(key, error) for key, _, _, error in _facts(source)]
    assert keys[:2] == [("a.jpg#0", ""), ("a.jpg#1", "")]
    assert keys[2][0] == "a.jpg#1~2" and keys[2][1] != ""


@pytest.mark.parametrize(
    "text, message",
    [
        ("{oops", "is not JSON"),
        (
            '{"image": "a.jpg", "caption": "x"}\n{"image": "b.jpg", "caption": "y"}',
            "of JSON lines, make one list",
        ),
        ('{"annotations": [], "images": []}', r"holds a dict with the keys \['annotations', 'images'\]"),
        ('"text"', "holds a str"),
        ("[]", "holds an empty list"),
        ('[{"file_name": "a.jpg", "text": "x"}]', "has both 'image' and 'caption'.*file_name"),
        ("[1, 2]", "Its first entry is 1"),
    ],
)
def test_other_files_are_shown_for_what_they_are(tmp_path, root, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        LavisJsonSource(str(path), str(root))


def test_missing_file_and_root(tmp_path, root):
    with pytest.raises(ValueError, match="No annotation file at .*gone.json"):
        LavisJsonSource(str(tmp_path / "gone.json"), str(root))
    (tmp_path / "x.json").write_text('[{"image": "a.jpg", "caption": "x"}]')
    with pytest.raises(ValueError, match="image_root .* is no folder"):
        LavisJsonSource(str(tmp_path / "x.json"), str(tmp_path / "nowhere"))


def test_without_images_the_records_are_the_same(source_of, root, monkeypatch):
    os.mkfifo(root / "pipe.jpg")
    (root / "empty.jpg").write_bytes(b"")
    (root / "loop.jpg").symlink_to("loop.jpg")
    images = [
        "a.jpg",
        "gone.jpg",
        "sub",
        "../outside.jpg",
        "pipe.jpg",
        "empty.jpg",
        "loop.jpg",
        "x" * 300,
        "\ud800.jpg",
    ]
    source = source_of([{"image": image, "caption": ["x", "y"]} for image in [*images, "a.jpg/b.jpg"]])
    full = list(source.read(source.parts[0]))
    monkeypatch.setattr("builtins.open", None)  # nothing is opened
    light = list(source.read(source.parts[0], images=False))
    monkeypatch.undo()
    assert light == [replace(record, image=None) for record in full]
    assert [record.error for record in full[::2]] == [
        "",
        "missing image",
        "missing image",
        "image path leaves the image root",
        "missing image",
        "",
        "unreadable image: Too many levels of symbolic links",
        "unreadable image: File name too long",
        "missing image",
        "missing image",
    ]


def test_a_file_too_large_for_an_image_is_not_read(source_of, root, monkeypatch):
    monkeypatch.setattr(image_folder, "MAX_BYTES", 1000)
    os.truncate(root / "b.jpg", 1001)
    source = source_of([{"image": "a.jpg", "caption": "x"}, {"image": "b.jpg", "caption": "y"}])
    for images in (True, False):
        errors = [record.error for record in source.read(source.parts[0], images=images)]
        assert errors == ["", "unreadable image: more than 1000 bytes"]


@pytest.mark.parametrize("part_size", [0, -1, 1.5, "10", True])
def test_part_size_must_be_a_count(source_of, part_size):
    with pytest.raises(ValueError, match="part_size is"):
        source_of([{"image": "a.jpg", "caption": "x"}], part_size=part_size)


def test_a_part_digest_covers_its_own_pairs(source_of):
    entries = [{"image": "a.jpg", "caption": "one"}, {"image": "b.jpg", "caption": "two"}]
    before = _digests(source_of(entries, part_size=1))
    entries[1]["caption"] = "other"
    after = _digests(source_of(entries, part_size=1))
    assert after[0] == before[0] and after[1] != before[1]


def test_a_part_digest_covers_the_sizes_of_its_images(source_of, root):
    entries = [{"image": "a.jpg", "caption": "one"}, {"image": "b.jpg", "caption": "two"}]
    source = source_of(entries, part_size=1)
    before = _digests(source)
    with open(root / "b.jpg", "ab") as file:
        file.write(b"x")
    assert _digests(source) == before  # taken once
    after = _digests(source_of(entries, part_size=1))
    assert after[0] == before[0] and after[1] != before[1]
    os.remove(root / "b.jpg")
    assert _digests(source_of(entries, part_size=1))[1] not in (before[1], after[1])


def test_an_annotation_file_that_changes_is_noticed(source_of):
    source = source_of([{"image": "a.jpg", "caption": "x"}], [{"image": "b.jpg", "caption": "y"}])
    os.utime(source.parts[1].path, (1, 1))
    source.check_unchanged(source.parts[0])
    with pytest.raises(ValueError, match=r"annotations1\.json has changed since this run began"):
        source.check_unchanged(source.parts[1])


_NAMES = ("t.json", "t.json", "u.json")  # in a folder each


def _naive(lists, part_size):
    """``(key, image key, caption, error)`` of each pair, by part; all in memory."""
    found = []  # image, captions, place, error; by part
    for entries, name in zip(lists, _NAMES, strict=False):
        for number, entry in enumerate(entries):
            if number % part_size == 0:
                found.append([])
            if isinstance(entry, dict):
                image = entry.get("image") if isinstance(entry.get("image"), str) else ""
                captions = entry.get("caption")
                captions = captions if isinstance(captions, list) else [captions]
                found[-1].append((image, captions or [None], f"{name}[{number}]", ""))
            else:
                found[-1].append(("", [None], f"{name}[{number}]", f"not an annotation: a {type(entry).__name__}"))
    counts = Counter(image for part in found for image, captions, _, _ in part for _ in captions)
    seen, keys, parts = Counter(), KeyRegister(), []
    for part in found:
        pairs = []
        for image, captions, place, error in part:
            for caption in captions:
                image_key = clean_key(image) or place
                wanted = image_key
                if image and counts[image] > 1:
                    wanted += f"#{seen[image]}"
                    seen[image] += 1
                key, doubled = keys.claim(wanted)
                text = clean_caption(caption) if isinstance(caption, str) else ""
                problems = [error, "" if image else "missing image"]
                if not isinstance(caption, str):
                    problems.append(
                        "missing caption" if caption is None else f"missing caption: a {type(caption).__name__}"
                    )
                problems.append("" if text else "empty caption")
                problems.append(f"doubled key: {wanted}" if doubled else "")
                pairs.append((key, image_key, text, next(filter(None, problems), "")))
        parts.append(pairs)
    return parts


_images = st.sampled_from(
    [
        "a",
        "a",
        "b",
        "a#0",
        "a#1",
        "a#0~2",
        "b~2",
        "b\n",
        "b\\n",
        "\ud800",
        "\\ud800",
        "é😀",
        "t.json[0]",
        "t.json[1]",
        "",
        3,
    ]
)
_captions = st.sampled_from(["x", " y ", "", "\x00", "é", "a\udc00b", "\U0001f600", None, 1, True, {"caption": "x"}])
_entries = st.one_of(
    st.fixed_dictionaries({"image": _images, "caption": st.one_of(_captions, st.lists(_captions, max_size=3))}),
    st.fixed_dictionaries({}, optional={"image": _images, "caption": _captions}),
    st.sampled_from(["text", 1.5, None, [["a", "x"]]]),
)


def _annotated(*images):
    return [{"image": image, "caption": "x"} for image in images]


@given(
    lists=st.lists(st.lists(_entries, max_size=8), min_size=1, max_size=3),
    part_size=st.integers(1, 4),
    escaped=st.booleans(),
    hashes=st.sampled_from([hash, lambda key: len(key) % 2]),
)
@example([_annotated("b~2", "a~2", "a", "a"), _annotated("b\n", "b\\n", "b\\n~2")], 2, True, hash)
@example([_annotated("a", "a#0", "a#0~2", "a", "a#1~2~2", "a#1", "a#1~2", "a#1~2~2~3")], 3, True, lambda key: 1)
@example([[{"caption": ["x", "y"]}], [{}, "text"], ["text", *_annotated("t.json[0]", "t.json[0]~2")]], 1, False, hash)
def test_like_all_of_it_in_memory(lists, part_size, escaped, hashes):
    lists = [[*entries, *_annotated("z")] for entries in lists]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_columns, "_BLOCK", 3)
        patch.setattr(caption_columns, "hash", hashes, raising=False)
        patch.setattr(json_list, "CHUNK_CHARACTERS", 11)
        paths = [Path(folder, str(i), name) for i, name in enumerate(_NAMES[: len(lists)])]
        for path, entries in zip(paths, lists, strict=True):
            path.parent.mkdir()
            # Unpaired surrogates can only be written as escapes.
            text = json.dumps(entries, ensure_ascii=escaped or "\\ud" in json.dumps(entries))
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
        source = LavisJsonSource(map(str, paths), folder, part_size=part_size)
        records = [[(r.key, r.image_key, r.caption) for r in source.read(part, images=False)] for part in source.parts]
        digests = _digests(source)
    expected = _naive(lists, part_size)
    assert records == [[pair[:3] for pair in pairs] for pairs in expected]
    # No image is there: that hides a record's own error, but not from the digest.
    written = ["".join(json.dumps([key, text, error, -1]) for key, _, text, error in pairs) for pairs in expected]
    assert digests == [blake2b(text.encode(), digest_size=16).hexdigest() for text in written]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'[{"image": "a.jpg", "caption": "x"},\n',
            r"is not JSON: Expecting value: line 2 column 1 \(char 37\)\. Give",
        ),
        (b'[{"image": "a.jpg", "caption": "x"}] []', "is not JSON: Extra data: line 1 column 38"),
        (
            b'[{"image": "a.jpg", "caption": "\xe9"}]',
            "decode byte 0xe9 in position 32: invalid continuation byte. Give",
        ),
        (b"[" * 100_000, "is not JSON: maximum recursion depth exceeded"),
        (b"", "is not JSON: Expecting value: line 1 column 1"),
    ],
)
def test_a_broken_list_is_told_as_json_tells_it(tmp_path, root, content, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        LavisJsonSource(str(path), str(root))
