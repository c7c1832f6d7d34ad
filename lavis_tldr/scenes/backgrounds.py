"""Places behind the things: one function a background, in unit coordinates with (0, 0) at the top left."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from lavis_tldr.scenes.pen import RGB


class Backdrop:
    """A canvas of ``size`` x ``size`` pixels; every picture of a place differs a little by ``rng``."""

    def __init__(self, size: int, rng: Random) -> None:
        self.image = Image.new("RGB", (size, size))
        self.size = size
        self.rng = rng
        self._draw = ImageDraw.Draw(self.image)

    def gradient(self, top: RGB, bottom: RGB, y0: float = 0.0, y1: float = 1.0) -> None:
        first, last = round(y0 * self.size), round(y1 * self.size)
        t = np.linspace(0, 1, max(last - first, 1))[:, None]
        rows = (np.array(top) * (1 - t) + np.array(bottom) * t).astype(np.uint8)
        band = np.broadcast_to(rows[:, None, :], (len(rows), self.size, 3))
        self.image.paste(Image.fromarray(np.ascontiguousarray(band)), (0, first))

    def _at(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * self.size, y * self.size) for x, y in points]

    def polygon(self, points: list[tuple[float, float]], fill: RGB) -> None:
        self._draw.polygon(self._at(points), fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: RGB) -> None:
        self._draw.rectangle(self._at([(x0, y0), (x1, y1)]), fill)

    def dot(self, x: float, y: float, rx: float, fill: RGB, ry: float | None = None) -> None:
        ry = rx if ry is None else ry
        self._draw.ellipse(self._at([(x - rx, y - ry), (x + rx, y + ry)]), fill)

    def circle(self, x: float, y: float, rx: float, outline: RGB, ry: float | None = None) -> None:
        ry = rx if ry is None else ry
        box = self._at([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.ellipse(box, outline=outline, width=max(1, round(0.01 * self.size)))

    def line(self, points: list[tuple[float, float]], fill: RGB, width: float = 0.008) -> None:
        self._draw.line(self._at(points), fill, max(1, round(width * self.size)))

    def hills(self, level: float, height: float, fill: RGB) -> None:
        phase, waves = self.rng.uniform(0, 6.3), self.rng.uniform(0.8, 1.5)
        curve = [(i / 20, level - height * math.sin(phase + waves * 6.3 * i / 20)) for i in range(21)]
        self.polygon([(0, 1), *curve, (1, 1)], fill)

    def cloud(self, x: float, y: float, size: float, fill: RGB = (255, 255, 255)) -> None:
        for dx, dy, r in ((-0.9, 0.1, 0.5), (-0.3, -0.25, 0.65), (0.4, -0.1, 0.6), (0.95, 0.15, 0.4)):
            self.dot(x + dx * size, y + dy * size, r * size, fill)


def _beach(b: Backdrop) -> None:
    b.gradient((120, 195, 240), (215, 238, 250), 0, 0.42)
    b.box(0, 0.42, 1, 0.62, (35, 125, 190))
    for _ in range(7):
        x, y = b.rng.random(), b.rng.uniform(0.45, 0.58)
        b.line([(x, y), (x + 0.1, y)], (150, 205, 235))
    b.gradient((240, 220, 165), (225, 195, 130), 0.62, 1)
    b.line([(0, 0.62), (1, 0.62)], (250, 250, 245), 0.02)
    b.dot(b.rng.choice((0.15, 0.85)), 0.13, 0.09, (255, 225, 80))


def _ocean(b: Backdrop) -> None:
    b.gradient((60, 150, 215), (12, 50, 110))
    for _ in range(16):
        b.circle(b.rng.random(), b.rng.random(), b.rng.uniform(0.012, 0.035), (165, 215, 240))
    b.hills(0.92, 0.02, (195, 170, 115))
    for _ in range(5):
        x = b.rng.random()
        b.line([(x, 0.95), (x - 0.02, 0.85), (x + 0.02, 0.75)], (35, 120, 70), 0.018)


def _sky(b: Backdrop) -> None:
    b.gradient((90, 170, 240), (190, 225, 250))
    for _ in range(5):
        b.cloud(b.rng.random(), b.rng.random(), b.rng.uniform(0.06, 0.12))


def _meadow(b: Backdrop) -> None:
    b.gradient((150, 210, 245), (220, 240, 250), 0, 0.5)
    b.hills(0.45, 0.04, (125, 190, 85))
    b.hills(0.58, 0.03, (95, 170, 65))
    for _ in range(45):
        x, y = b.rng.random(), b.rng.uniform(0.64, 1)
        b.line([(x, y), (x + b.rng.uniform(-0.02, 0.02), y - 0.045)], (60, 130, 45))


def _stars(b: Backdrop, count: int, lowest: float) -> None:
    for _ in range(count):
        b.dot(b.rng.random(), b.rng.uniform(0, lowest), b.rng.uniform(0.004, 0.009), (255, 250, 215))


def _night(b: Backdrop) -> None:
    b.gradient((12, 14, 45), (45, 45, 105))
    _stars(b, 45, 0.75)
    x = b.rng.choice((0.14, 0.86))
    b.dot(x, 0.14, 0.085, (250, 245, 205))
    b.dot(x + 0.04, 0.12, 0.075, (16, 18, 52))
    b.hills(0.86, 0.03, (18, 22, 40))


def _desert(b: Backdrop) -> None:
    b.gradient((250, 205, 130), (255, 235, 190), 0, 0.6)
    b.dot(b.rng.uniform(0.2, 0.8), 0.14, 0.08, (255, 250, 215))
    b.hills(0.5, 0.05, (230, 175, 100))
    b.hills(0.7, 0.06, (215, 155, 80))
    b.hills(0.9, 0.04, (200, 140, 70))


def _snow(b: Backdrop) -> None:
    b.gradient((165, 185, 210), (215, 225, 238), 0, 0.65)
    b.hills(0.58, 0.04, (240, 244, 250))
    for x in (b.rng.uniform(0, 0.3), b.rng.uniform(0.7, 1)):
        for top in (0.36, 0.42, 0.48):
            b.polygon([(x, top), (x + 0.06, top + 0.1), (x - 0.06, top + 0.1)], (90, 120, 125))
    for _ in range(60):
        b.dot(b.rng.random(), b.rng.random(), b.rng.uniform(0.006, 0.013), (255, 255, 255))


def _sunset(b: Backdrop) -> None:
    b.gradient((120, 50, 110), (240, 110, 60), 0, 0.4)
    b.gradient((240, 110, 60), (255, 205, 100), 0.4, 0.68)
    b.dot(0.5 + b.rng.uniform(-0.2, 0.2), 0.66, 0.16, (255, 235, 140))
    b.gradient((110, 50, 85), (55, 25, 60), 0.68, 1)
    for _ in range(8):
        x, y = b.rng.random(), b.rng.uniform(0.71, 0.97)
        b.line([(x, y), (x + 0.15, y)], (225, 130, 90))


def _city(b: Backdrop) -> None:
    b.gradient((150, 190, 225), (225, 232, 240), 0, 0.8)
    x = -0.02
    while x < 1:
        width, top = b.rng.uniform(0.1, 0.18), b.rng.uniform(0.15, 0.5)
        grey = b.rng.randint(105, 165)
        b.box(x, top, x + width, 0.8, (grey, grey + 5, grey + 15))
        for row in range(int((0.76 - top) / 0.07)):
            for column in range(int(width / 0.045)):
                wx, wy = x + 0.012 + column * 0.045, top + 0.025 + row * 0.07
                b.box(wx, wy, wx + 0.02, wy + 0.035, (250, 235, 160) if b.rng.random() < 0.4 else (70, 85, 105))
        x += width + 0.01
    b.box(0, 0.8, 1, 1, (75, 75, 80))
    for i in range(5):
        b.box(0.05 + i * 0.22, 0.89, 0.15 + i * 0.22, 0.91, (235, 225, 140))


def _forest(b: Backdrop) -> None:
    b.gradient((70, 125, 80), (30, 75, 45))
    for i in range(7):
        x = i / 6 + b.rng.uniform(-0.05, 0.05)
        b.box(x - 0.025, 0, x + 0.025, 0.85, (75, 50, 32))
    for _ in range(22):
        b.dot(b.rng.random(), b.rng.uniform(-0.05, 0.14), 0.09, (35, b.rng.randint(90, 125), 50))
    b.gradient((60, 95, 45), (40, 65, 30), 0.82, 1)


def _mountains(b: Backdrop) -> None:
    b.gradient((140, 195, 240), (225, 238, 248), 0, 0.8)
    for x, top in ((0.1, 0.3), (0.9, 0.26), (0.5, 0.14)):
        x += b.rng.uniform(-0.08, 0.08)
        b.polygon([(x, top), (x + 0.42, 0.72), (x - 0.42, 0.72)], (120, 125, 140))
        b.polygon([(x, top), (x + 0.12, top + 0.14), (x, top + 0.1), (x - 0.12, top + 0.14)], (250, 252, 255))
    b.hills(0.74, 0.02, (110, 165, 80))


def _room(b: Backdrop) -> None:
    b.gradient((240, 226, 200), (232, 214, 184), 0, 0.68)
    x = b.rng.choice((0.06, 0.64))
    b.box(x, 0.08, x + 0.3, 0.4, (255, 255, 255))
    b.box(x + 0.02, 0.1, x + 0.14, 0.38, (165, 210, 240))
    b.box(x + 0.16, 0.1, x + 0.28, 0.38, (165, 210, 240))
    b.gradient((185, 130, 80), (150, 98, 55), 0.68, 1)
    for i in range(-2, 9):
        b.line([(i * 0.16 + 0.1, 0.68), (i * 0.16, 1)], (120, 78, 45))
    b.line([(0, 0.68), (1, 0.68)], (255, 250, 240), 0.02)


def _brick(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (205, 190, 175))
    for row in range(13):
        for column in range(-1, 6):
            x, y = column * 0.2 + (row % 2) * 0.1, row * 0.08
            red = b.rng.randint(150, 185)
            b.box(x + 0.006, y + 0.006, x + 0.192, y + 0.072, (red, 75, 58))


def _table(b: Backdrop) -> None:
    for i in range(6):
        brown = b.rng.randint(-12, 12)
        b.box(0, i / 6, 1, (i + 1) / 6, (176 + brown, 120 + brown, 70 + brown))
        for _ in range(3):
            x, y = b.rng.random(), i / 6 + b.rng.uniform(0.03, 0.14)
            b.line([(x - 0.25, y), (x + 0.25, y)], (150 + brown, 98 + brown, 55 + brown), 0.006)
        b.line([(0, i / 6), (1, i / 6)], (105, 68, 38), 0.012)


_SOFT = ((250, 190, 190), (185, 215, 245), (190, 230, 190), (250, 225, 150), (215, 195, 240))


def _checkered(b: Backdrop) -> None:
    colour = b.rng.choice(_SOFT)
    for i in range(8):
        for j in range(8):
            b.box(i / 8, j / 8, (i + 1) / 8, (j + 1) / 8, colour if (i + j) % 2 else (252, 252, 250))


def _dotted(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, b.rng.choice(_SOFT))
    for row in range(9):
        for column in range(-1, 9):
            b.dot(column * 0.125 + (row % 2) * 0.0625 + 0.03, row * 0.125 + 0.03, 0.024, (255, 255, 255))


def _striped(b: Backdrop) -> None:
    colour = b.rng.choice(_SOFT)
    for i in range(12):
        b.box(i / 12, 0, (i + 1) / 12, 1, colour if i % 2 else (252, 252, 250))


def _space(b: Backdrop) -> None:
    b.gradient((8, 6, 22), (28, 14, 50))
    _stars(b, 60, 1)
    x = b.rng.choice((0.15, 0.85))
    b.dot(x, 0.16, 0.08, (225, 165, 100))
    b.circle(x, 0.16, 0.14, (240, 215, 165), ry=0.035)
    b.dot(1 - x, 0.88, 0.06, (105, 150, 215))


def _paper(b: Backdrop) -> None:
    white = b.rng.randint(246, 255)
    b.box(0, 0, 1, 1, (white, white, white))


def _river(b: Backdrop) -> None:
    b.gradient((165, 215, 245), (225, 240, 250), 0, 0.35)
    b.gradient((130, 190, 90), (85, 150, 60), 0.35, 1)
    swing = b.rng.choice((-1, 1))
    left, right = [], []
    for i in range(13):
        y = 0.35 + 0.65 * i / 12
        middle, half = 0.5 + swing * 0.18 * math.sin(i / 2), 0.03 + 0.15 * i / 12
        left.append((middle - half, y))
        right.append((middle + half, y))
    b.polygon(left + right[::-1], (65, 145, 210))
    for i in range(2, 12, 2):
        b.line([(left[i][0] + 0.03, left[i][1]), (right[i][0] - 0.03, left[i][1])], (150, 205, 240))


def _rain(b: Backdrop) -> None:
    b.gradient((95, 105, 120), (150, 160, 172))
    for x in (0.1, 0.38, 0.66, 0.94):
        b.cloud(x, 0.06, 0.11, (70, 76, 88))
    for _ in range(70):
        x, y = b.rng.random(), b.rng.uniform(0.18, 1)
        b.line([(x, y), (x - 0.015, y + 0.05)], (195, 212, 232))


DRAW: dict[str, Callable[[Backdrop], None]] = {
    "beach": _beach,
    "ocean": _ocean,
    "sky": _sky,
    "meadow": _meadow,
    "night": _night,
    "desert": _desert,
    "snow": _snow,
    "sunset": _sunset,
    "city": _city,
    "forest": _forest,
    "mountains": _mountains,
    "room": _room,
    "brick": _brick,
    "table": _table,
    "checkered": _checkered,
    "dotted": _dotted,
    "striped": _striped,
    "space": _space,
    "paper": _paper,
    "river": _river,
    "rain": _rain,
}
