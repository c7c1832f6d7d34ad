"""What a scene consists of, and scenes drawn by lot. Lengths are shares of the image's side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from lavis_tldr.scenes.vocabulary import BACKGROUNDS, COLOURS, PLAIN_ONLY, SHAPES, TEXTURES

# Half the side of a thing's tile, by arrangement and size.
_RADII = {
    "one": {"small": 0.15, "medium": 0.24, "large": 0.36},
    "pair": {"small": 0.11, "medium": 0.17, "large": 0.24},
    "many": {"medium": 0.16},
    "grid": {"medium": 0.2},
}
_PLACES = {
    "left": [(0.26, 0.55)],
    "middle": [(0.5, 0.52)],
    "right": [(0.74, 0.55)],
    "beside": [(0.27, 0.55), (0.73, 0.55)],
    "over": [(0.5, 0.27), (0.5, 0.75)],
    "row": [(0.18, 0.57), (0.5, 0.57), (0.82, 0.57)],
    "pyramid": [(0.5, 0.27), (0.27, 0.74), (0.73, 0.74)],
    "grid": [(0.27, 0.27), (0.73, 0.27), (0.27, 0.74), (0.73, 0.74)],
}
_RADIUS_OF = {"left": "one", "middle": "one", "right": "one", "beside": "pair", "over": "pair"}
_RADIUS_OF |= {"row": "many", "pyramid": "grid", "grid": "grid"}
_ARRANGEMENTS = {
    1: ("left", "middle", "middle", "right"),
    2: ("beside", "over"),
    3: ("row", "pyramid"),
    4: ("grid",),
}


@dataclass(frozen=True)
class Thing:
    """One thing: what it is, what it looks like, and where it lies (centre and half side)."""

    shape: str
    colour: str
    texture: str
    size: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """Things arranged before a background.

    Args:
        things: One to four, in the order of the arrangement's places: left to right, then top to bottom.
        arrangement: ``left``, ``middle``, ``right`` (one thing); ``beside``, ``over`` (two: first above
            second); ``row``, ``pyramid`` (three: first above the others); ``grid`` (four: two above two).
        same: The things are alike in shape, colour, texture and size.
        background: Name of the background.
        seed: Of the background's details.
    """

    things: tuple[Thing, ...]
    arrangement: str
    same: bool
    background: str
    seed: int


@dataclass(frozen=True)
class World:
    """What scenes are made of: names of shapes, colours and backgrounds."""

    shapes: tuple[str, ...]
    colours: tuple[str, ...]
    backgrounds: tuple[str, ...]
    max_things: int = 4


def build_world(variety: float = 1.0, max_things: int = 4) -> World:
    """A world of this share of all shapes, colours and backgrounds, spread evenly over each.

    Raises:
        ValueError: If ``variety`` is not in (0, 1], or ``max_things`` not from 1 to 4.
    """
    if not 0 < variety <= 1:
        raise ValueError(f"variety is {variety}; it is a share of the things to draw and must be in (0, 1].")
    if max_things not in _ARRANGEMENTS:
        raise ValueError(f"max_things is {max_things}; scenes hold 1 to {max(_ARRANGEMENTS)} things.")
    # Five colours at most would not stand out against a background, so that six always leave one.
    names = (SHAPES, COLOURS, BACKGROUNDS)
    return World(*(_spread(list(all_), max(round(variety * len(all_)), 6)) for all_ in names), max_things)


def random_scene(rng: Random, world: World | None = None) -> Scene:
    """A scene drawn by lot from ``world``, by default of everything there is; no thing has a colour that would not
    stand out against the background.
    """
    world = world or build_world()
    background = rng.choice(world.backgrounds)
    count = rng.choice([count for count in (1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4) if count <= world.max_things])
    arrangement = rng.choice(_ARRANGEMENTS[count])
    same = count > 1 and rng.random() < 0.3
    colours = [colour for colour in world.colours if colour not in BACKGROUNDS[background][1]]
    shapes = rng.sample([shape for shape in world.shapes if not (same and shape == "cherry")], count)
    looks = [(shape, rng.choice(colours), _texture(rng, shape), _size(rng, arrangement)) for shape in shapes]
    if same:
        looks = looks[:1] * count
    things = []
    for (shape, colour, texture, size), (x, y) in zip(looks, _PLACES[arrangement], strict=True):
        radius = _RADII[_RADIUS_OF[arrangement]][size] * rng.uniform(0.95, 1.05)
        inside = (min(max(_near(rng, place), radius), 1 - radius) for place in (x, y))
        things.append(Thing(shape, colour, texture, size, *inside, radius))
    return Scene(tuple(things), arrangement, same, background, rng.getrandbits(32))


def jitter(scene: Scene, rng: Random) -> Scene:
    """Nearly the same scene: each thing moved and scaled by a few hundredths."""
    things = tuple(
        replace(
            thing,
            x=_near(rng, thing.x, 0.015),
            y=_near(rng, thing.y, 0.015),
            radius=thing.radius * rng.uniform(0.96, 1.04),
        )
        for thing in scene.things
    )
    return replace(scene, things=things)


def unlike(scene: Scene, other: Scene) -> bool:
    """Whether a caption of ``other`` is wrong for ``scene``: another background, and no shape in common."""
    shapes = {thing.shape for thing in scene.things}
    return scene.background != other.background and all(thing.shape not in shapes for thing in other.things)


def _spread(names: list[str], size: int) -> tuple[str, ...]:
    return tuple(names[i * len(names) // size] for i in range(size))


def _texture(rng: Random, shape: str) -> str:
    return rng.choice(list(TEXTURES)) if shape not in PLAIN_ONLY and rng.random() < 0.25 else "plain"


def _size(rng: Random, arrangement: str) -> str:
    return rng.choice(list(_RADII[_RADIUS_OF[arrangement]]))


def _near(rng: Random, centre: float, spread: float = 0.03) -> float:
    return centre + rng.uniform(-spread, spread)
