"""The pen that draws the things of a scene: unit coordinates, x to the right and y down, both in [-1, 1]."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Points = list[tuple[float, float]]
WHITE, BLACK, GREEN, WOOD, GLASS = (
    (255, 255, 255),
    (30, 30, 35),
    (50, 140, 60),
    (120, 78, 45),
    (190, 225, 245),
)


def shade(colour: RGB, amount: float) -> RGB:
    """Darker (``amount`` < 0, to black at -1) or lighter (> 0, to white at 1) colour."""
    goal = 255 if amount > 0 else 0
    return tuple(round(c + (goal - c) * abs(amount)) for c in colour)


class Pen:
    """Draws in unit coordinates on a transparent square tile.

    Args:
        size: Side of the tile in pixels.
        colour: The thing's own colour; exactly this colour is what a texture is laid over.
    """

    def __init__(self, size: int, colour: RGB) -> None:
        self.tile = Image.new("RGBA", (size, size))
        self.colour = colour
        self.dark = shade(colour, -0.4) if sum(colour) > 160 else shade(colour, 0.35)
        self.light = shade(colour, 0.5)
        self._draw = ImageDraw.Draw(self.tile)
        self._scale = size / 2.2  # the tile reaches a little beyond 1, for outlines
        self._middle = size / 2
        self._line = max(1, round(size * 0.025))

    def _at(self, points: Points) -> Points:
        return [(self._middle + x * self._scale, self._middle + y * self._scale) for x, y in points]

    def polygon(self, points: Points, fill: RGB | None = None) -> None:
        self._draw.polygon(self._at(points), fill or self.colour)
        self._draw.line(self._at([*points, points[0]]), self.dark, self._line, joint="curve")

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, fill: RGB | None = None) -> None:
        self._draw.ellipse(self._at([(x0, y0), (x1, y1)]), fill or self.colour, self.dark, self._line)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: RGB | None = None) -> None:
        self._draw.rectangle(self._at([(x0, y0), (x1, y1)]), fill or self.colour, self.dark, self._line)

    def line(self, points: Points, width: float = 0.08, fill: RGB | None = None) -> None:
        pixels = max(1, round(width * self._scale))
        self._draw.line(self._at(points), fill or self.dark, pixels, joint="curve")

    def dot(self, x: float, y: float, radius: float = 0.08, fill: RGB | None = None) -> None:
        fill = fill or (BLACK if sum(self.colour) > 160 else WHITE)
        self._draw.ellipse(self._at([(x - radius, y - radius), (x + radius, y + radius)]), fill)

    def pie(self, box: tuple, start: int, end: int, fill: RGB | None = None) -> None:
        x0, y0, x1, y1 = box
        corners = self._at([(x0, y0), (x1, y1)])
        self._draw.pieslice(corners, start, end, fill or self.colour, self.dark, self._line)

    def arc(self, box: tuple, start: int, end: int, width: float = 0.1, fill: RGB | None = None) -> None:
        x0, y0, x1, y1 = box
        pixels = max(1, round(width * self._scale))
        self._draw.arc(self._at([(x0, y0), (x1, y1)]), start, end, fill or self.dark, pixels)

    def erase(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self._draw.ellipse(self._at([(x0, y0), (x1, y1)]), (0, 0, 0, 0))


def regular(corners: int, radius: float = 1.0, turn: float = -90, inner: float | None = None) -> Points:
    """Corners of a regular polygon, or with ``inner`` of a star; ``turn`` in degrees."""
    count = corners * (2 if inner else 1)
    points = []
    for i in range(count):
        angle = math.radians(turn + 360 * i / count)
        length = inner if inner and i % 2 else radius
        points.append((length * math.cos(angle), length * math.sin(angle)))
    return points
