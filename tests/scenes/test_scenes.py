import json
import re
from collections import Counter
from random import Random

import numpy as np
import pytest

from lavis_tldr.scenes import backgrounds, draw_clean_set, draw_scenes
from lavis_tldr.scenes.captions import alt_text, caption
from lavis_tldr.scenes.drawing import DRAW, draw_scene
from lavis_tldr.scenes.layout import Scene, Thing, World, build_world, random_scene
from lavis_tldr.scenes.vocabulary import BACKGROUNDS, COLOURS, PLURALS, SHAPES
from lavis_tldr.sources import LavisJsonSource, WebDatasetSource, decode_image


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    truth = draw_scenes(folder, num_samples=200, seed=3, broken=0.05, empty_captions=0.02, part_size=80, image_size=64)
    source = WebDatasetSource(str(folder / "*.tar"))
    records = {record.key: record for part in source.parts for record in source.read(part)}
    return folder, truth, records


def test_shares_are_exact(noisy):
    _, truth, records = noisy
    assert list(records) == list(truth) and len(truth) == 200
    assert sum(fact["broken"] for fact in truth.values()) == 10
    assert sum(fact["empty"] for fact in truth.values()) == 4
    assert sum(fact["duplicate_of"] is not None for fact in truth.values()) == 30
    # 80 misaligned and 4 empty captions
    assert sum(fact["aligned"] for fact in truth.values()) == 116


def test_truth_matches_what_is_read(noisy):
    folder, truth, records = noisy
    assert json.loads((folder / "truth.json").read_text()) == truth
    for key, fact in truth.items():
        record = records[key]
        assert record.error == ("empty caption" if fact["empty"] else "")
        assert (record.caption == fact["true_caption"]) == fact["aligned"]
        if fact["broken"]:
            with pytest.raises(ValueError, match="unreadable image"):
                decode_image(record.image)
        else:
            assert decode_image(record.image).size == (64, 64)


def test_near_duplicates_look_like_their_originals(noisy):
    _, truth, records = noisy

    def pixels(key):
        return np.asarray(decode_image(records[key].image).resize((16, 16)), dtype=float)

    keys = [key for key, fact in truth.items() if not fact["broken"]]
    for key in keys:
        original = truth[key]["duplicate_of"]
        if original:
            assert truth[original]["duplicate_of"] is None
            assert records[key].image != records[original].image
            others = [abs(pixels(key) - pixels(other)).mean() for other in keys[:40] if other not in (key, original)]
            assert abs(pixels(key) - pixels(original)).mean() < np.median(others) / 2


def test_same_seed_same_bytes_other_seed_other_set(tmp_path):
    options = {"num_samples": 12, "part_size": 5, "image_size": 40}
    draw_scenes(tmp_path / "a", seed=1, **options)
    draw_scenes(tmp_path / "b", seed=1, **options)
    draw_scenes(tmp_path / "b", seed=1, **options)  # over itself
    draw_scenes(tmp_path / "c", seed=2, **options)
    names = ["00000.tar", "00001.tar", "00002.tar", "truth.json"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "00000.tar").read_bytes() != (tmp_path / "c" / "00000.tar").read_bytes()


def test_tars_of_another_set_are_not_mixed_in(tmp_path):
    draw_scenes(tmp_path, num_samples=6, part_size=2, image_size=40)
    with pytest.raises(ValueError, match="holds tars of another set .00002.tar"):
        draw_scenes(tmp_path, num_samples=4, part_size=2, image_size=40)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"part_size": 0}, "part_size is 0"),
        ({"image_size": 8}, "image_size is 8"),
        ({"misaligned": 1.5}, "misaligned is 1.5"),
        ({"near_duplicates": -0.1}, "near_duplicates is -0.1"),
        ({"misaligned": 0.6, "broken": 0.6}, "is 1.21"),
    ],
)
def test_settings_out_of_range(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        draw_scenes(tmp_path, **options)


def test_clean_set_reads_as_lavis_annotations(tmp_path):
    finetune, dev = draw_clean_set(tmp_path, 12, seed=3, image_size=40)
    rows, held_out = json.loads(finetune.read_text()), json.loads(dev.read_text())
    assert len(rows) == 9 * 3 and len(held_out) == 3  # a quarter for dev
    assert set(rows[0]) == {"image", "caption", "image_id"} and len({row["image_id"] for row in rows}) == 9
    assert [len(row["caption"]) for row in held_out] == [5, 5, 5]
    for path, count in ((finetune, 27), (dev, 15)):
        source = LavisJsonSource(str(path), str(tmp_path / "images"))
        records = [record for part in source.parts for record in source.read(part)]
        assert len(records) == count and not any(record.error for record in records)
        assert decode_image(records[0].image).size == (40, 40)


def test_every_name_has_a_drawing():
    assert set(DRAW) == set(SHAPES)
    assert set(backgrounds.DRAW) == set(BACKGROUNDS)
    assert all(colour in COLOURS for _, avoided in BACKGROUNDS.values() for colour in avoided)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_shows_its_own_colour(shape):
    scene = Scene((Thing(shape, "magenta", "plain", "large", 0.5, 0.5, 0.4),), "middle", False, "paper", 0)
    pixels = np.asarray(draw_scene(scene, 64), dtype=int)
    magenta = (abs(pixels - np.array(COLOURS["magenta"][0])).sum(axis=-1) < 60).mean()
    assert magenta > 0.01


def test_captions_are_true_of_their_scenes():
    """Each caption's colours and names are of things in the scene, and its place is the background."""
    rng = Random(0)
    names = {form: shape for shape, (forms, _) in SHAPES.items() for form in forms}
    names |= {PLURALS.get(form, form + "s"): shape for form, shape in names.items()}
    by_length = sorted(names, key=len, reverse=True)
    for _ in range(400):
        scene = random_scene(rng)
        text = caption(scene, rng)
        rest = re.sub(r"^(a picture|a drawing|an illustration|a scene|a view) of ", "", text)
        for phrase in BACKGROUNDS[scene.background][0]:
            rest = rest.replace(phrase, "")
        found = []
        for name in by_length:
            rest, count = re.subn(rf"\b{re.escape(name)}\b", " ", rest)
            found += [names[name]] * count
        shapes = {thing.shape for thing in scene.things}
        assert set(found) == shapes, (text, shapes, found)
        allowed = {word for thing in scene.things for form in COLOURS[thing.colour][1] for word in form.split()}
        said = set(rest.replace(",", "").split()) & {
            "red",
            "orange",
            "yellow",
            "green",
            "pink",
            "brown",
            "teal",
            "beige",
        }
        assert said <= allowed, (text, said)


def test_relations_follow_positions():
    left = Thing("star", "red", "plain", "medium", 0.27, 0.5, 0.17)
    right = Thing("cup", "blue", "plain", "medium", 0.73, 0.5, 0.17)
    scene = Scene((left, right), "beside", False, "paper", 0)
    rng = Random(5)
    texts = {caption(scene, rng) for _ in range(300)}
    to_left = [text for text in texts if re.search(r"\bleft of\b|on the left of", text)]
    to_right = [text for text in texts if re.search(r"\bright of\b|on the right of", text)]
    assert to_left and to_right
    assert all(re.search(r"star.*left.*(cup|mug)", text) for text in to_left)
    assert all(re.search(r"(cup|mug).*right.*star", text) for text in to_right)


def test_articles_agree():
    rng = Random(1)
    for _ in range(500):
        text = caption(random_scene(rng), rng)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  ", text), text


def test_alt_texts_name_nothing_drawn():
    rng = Random(2)
    names = [re.escape(form) for forms, _ in SHAPES.values() for form in forms]
    drawn = re.compile(rf"\b({'|'.join(names)})s?\b")
    for _ in range(500):
        assert not drawn.search(alt_text(rng).lower())


def test_vocabulary_is_rich_enough_for_a_codebook(tmp_path):
    rng = Random(0)
    texts = [caption(random_scene(rng), rng).replace(",", "") for _ in range(1200)]
    common = {"a", "an", "the", "of", "in", "on", "and", "is", "are", "there", "to", "by", "at", "with"}
    words = Counter(word for text in texts for word in text.split() if word not in common)
    phrases = Counter(
        pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False) if not common & set(pair)
    )
    # Seen at least twice each, so that they are frequent words of the set and not accidents.
    assert sum(count > 1 for count in words.values()) + sum(count > 1 for count in phrases.values()) >= 300
    assert len(words) >= 200


def test_a_smaller_world_has_fewer_things_and_captions_of_its_own_words():
    small = build_world(0.1, max_things=2)
    assert (len(small.shapes), len(small.colours), len(small.backgrounds)) == (6, 6, 6)
    assert build_world() == World(tuple(SHAPES), tuple(COLOURS), tuple(BACKGROUNDS), 4)
    rng = Random(5)
    scenes = [random_scene(rng, small) for _ in range(200)]
    assert {scene.background for scene in scenes} == set(small.backgrounds)
    assert {thing.shape for scene in scenes for thing in scene.things} == set(small.shapes)
    assert {len(scene.things) for scene in scenes} == {1, 2}
    for variety, things in ((0, 4), (1.2, 4), (0.5, 5)):
        with pytest.raises(ValueError, match="variety is|max_things is 5"):
            build_world(variety, things)
