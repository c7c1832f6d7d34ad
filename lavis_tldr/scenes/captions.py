"""True captions of a scene in many wordings, and alt texts that are about nothing drawn."""

from __future__ import annotations

from random import Random

from lavis_tldr.scenes.layout import Scene, Thing
from lavis_tldr.scenes.vocabulary import (
    ABOVE,
    ALT_TEXT,
    BACKGROUNDS,
    BELOW,
    BESIDE,
    COLOURS,
    LEFT,
    NUMBERS,
    PLURALS,
    RIGHT,
    SHAPES,
    SIZES,
    TEXTURES,
    VERBS,
)


def caption(scene: Scene, rng: Random) -> str:
    """A caption that is true of ``scene``; it may leave something out, as people do."""
    if scene.same:
        subject, kind = _group(scene, rng), "group"
    elif len(scene.things) == 1:
        subject, kind = _phrase(scene.things[0], rng), "one"
    else:
        subject, kind = _several(scene, rng), "several"
    where = rng.choice(BACKGROUNDS[scene.background][0])
    verb = rng.choice(VERBS[SHAPES[scene.things[0].shape][1]])
    side = {"left": "on the left side", "right": "on the right side", "middle": "in the middle"}
    picture = rng.choice(("a picture", "a drawing", "an illustration", "a scene", "a view"))
    forms = [
        f"{subject} {where}",
        f"{subject} {where}",
        f"{where}, {subject}",
        f"{where} there {'is' if kind == 'one' else 'are'} {subject}",
        f"{picture} of {subject} {where}",
    ]
    if kind != "several":
        forms += [f"{subject} {verb} {where}"] * 2
    if kind == "one":
        forms.append(f"{subject} {side[scene.arrangement]}, {where}")
        forms.append(subject)
        forms.append(_told(scene.things[0], where, rng))
    return rng.choice(forms)


def alt_text(rng: Random) -> str:
    """Web text about nothing drawn: advertisements, file names, page furniture."""
    if rng.random() < 0.2:
        return rng.choice(
            (
                f"IMG_{rng.randint(1000, 9999)}.JPG",
                f"DSC{rng.randint(10000, 99999)} copy",
                f"screenshot {rng.randint(2012, 2022)}-{rng.randint(1, 12):02d}",
                f"page {rng.randint(2, 99)} of {rng.randint(100, 300)}",
                f"user avatar {rng.randint(100, 999)}",
            )
        )
    return " ".join(word for slot in ALT_TEXT if (word := rng.choice(slot)))


def _name(thing: Thing, rng: Random, *, plural: bool = False) -> str:
    """Size, texture, colour and name, without an article."""
    name = rng.choice(SHAPES[thing.shape][0])
    if plural:
        name = PLURALS.get(name, name + "s")
    words = [
        rng.choice(SIZES[thing.size]),
        rng.choice(COLOURS[thing.colour][1]),
        rng.choice(TEXTURES[thing.texture]),
        name,
    ]
    if words[2] and rng.random() < 0.4:
        words[1], words[2] = words[2], words[1]
    return " ".join(word for word in words if word)


def _phrase(thing: Thing, rng: Random) -> str:
    name = _name(thing, rng)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _told(thing: Thing, where: str, rng: Random) -> str:
    """A sentence that names the colour after the thing: ``"the cup on the beach is red"``."""
    size = rng.choice(SIZES[thing.size])
    texture = rng.choice(TEXTURES[thing.texture])
    colour = rng.choice(COLOURS[thing.colour][1])
    name = " ".join(word for word in (size, texture, rng.choice(SHAPES[thing.shape][0])) if word)
    return f"the {name} {where} is {colour}"


def _group(scene: Scene, rng: Random) -> str:
    number = rng.choice(NUMBERS[len(scene.things)])
    order = {
        "beside": ("", " side by side", " next to each other"),
        "over": ("", " one above the other"),
        "row": ("", " in a row", " side by side"),
        "pyramid": ("",),
        "grid": ("", " in two rows"),
    }
    return f"{number} {_name(scene.things[0], rng, plural=True)}{rng.choice(order[scene.arrangement])}"


def _several(scene: Scene, rng: Random) -> str:
    names = [_phrase(thing, rng) for thing in scene.things]
    a, b = names[0], names[1]
    if scene.arrangement == "beside":
        return rng.choice(
            (
                f"{a} and {b}",
                f"{b} and {a}",
                f"{a} {rng.choice(BESIDE)} {b}",
                f"{a} {rng.choice(LEFT)} {b}",
                f"{b} {rng.choice(RIGHT)} {a}",
            )
        )
    if scene.arrangement == "over":
        return rng.choice((f"{a} and {b}", f"{a} {rng.choice(ABOVE)} {b}", f"{b} {rng.choice(BELOW)} {a}"))
    c = names[2]
    if scene.arrangement == "row":
        return rng.choice((f"{a}, {b} and {c}", f"{b} between {a} and {c}", f"{a}, {b} and {c} in a row"))
    if scene.arrangement == "pyramid":
        return rng.choice((f"{a}, {b} and {c}", f"{a} {rng.choice(ABOVE)} {b} and {c}", f"{b} and {c} below {a}"))
    d = names[3]
    return rng.choice((f"{a}, {b}, {c} and {d}", f"{a} and {b} above {c} and {d}", f"{c}, {d}, {a} and {b}"))
