"""A scene to pixels."""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image

from lavis_tldr.scenes import backgrounds, forms, nature, objects, vehicles
from lavis_tldr.scenes.layout import Scene, Thing
from lavis_tldr.scenes.pen import Pen, shade
from lavis_tldr.scenes.vocabulary import COLOURS

DRAW = {**forms.DRAW, **nature.DRAW, **vehicles.DRAW, **objects.DRAW}
_SUPERSAMPLING = 3


def draw_scene(scene: Scene, image_size: int) -> Image.Image:
    """RGB image of ``image_size`` x ``image_size`` pixels; the same scene gives the same pixels."""
    backdrop = backgrounds.Backdrop(image_size * _SUPERSAMPLING, Random(scene.seed))
    backgrounds.DRAW[scene.background](backdrop)
    canvas = backdrop.image
    for thing in scene.things:
        tile = _tile(thing, canvas.width)
        corner = (
            round(thing.x * canvas.width - tile.width / 2),
            round(thing.y * canvas.width - tile.width / 2),
        )
        canvas.paste(tile, corner, tile)
    return canvas.resize((image_size, image_size), Image.Resampling.BOX)


def _tile(thing: Thing, canvas_size: int) -> Image.Image:
    pen = Pen(max(8, round(2 * thing.radius * canvas_size)), COLOURS[thing.colour][0])
    DRAW[thing.shape](pen)
    return pen.tile if thing.texture == "plain" else _textured(pen, thing.texture)


def _textured(pen: Pen, texture: str) -> Image.Image:
    """Stripes or spots on the pixels that have the thing's own colour."""
    pixels = np.array(pen.tile)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]] / pixels.shape[0] * 10.0
    pattern = (x + y) % 2 < 0.8 if texture == "striped" else (x % 1.6 - 0.8) ** 2 + (y % 1.6 - 0.8) ** 2 < 0.26
    body = (pixels[..., :3] == pen.colour).all(axis=-1) & (pixels[..., 3] > 0)
    pixels[body & pattern, :3] = shade(pen.colour, 0.75 if sum(pen.colour) < 560 else -0.4)
    return Image.fromarray(pixels)
