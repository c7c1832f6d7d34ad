"""Household things and food. Each function draws one thing, recognisable at 30 pixels, on a pen."""

from __future__ import annotations

from collections.abc import Callable

from lavis_tldr.scenes.pen import BLACK, GREEN, WOOD, Pen, regular


def _cup(p: Pen) -> None:
    p.arc((0.3, -0.35, 0.98, 0.45), -90, 90, 0.16)
    p.polygon([(-0.8, -0.6), (0.6, -0.6), (0.45, 0.8), (-0.65, 0.8)])
    p.ellipse(-0.8, -0.78, 0.6, -0.42, WOOD)


def _bottle(p: Pen) -> None:
    p.polygon(
        [
            (-0.15, -0.7),
            (0.15, -0.7),
            (0.18, -0.3),
            (0.4, 0.0),
            (0.4, 0.98),
            (-0.4, 0.98),
            (-0.4, 0.0),
            (-0.18, -0.3),
        ]
    )
    p.box(-0.17, -0.95, 0.17, -0.7, WOOD)
    p.box(-0.4, 0.25, 0.4, 0.7, (245, 240, 225))


def _umbrella(p: Pen) -> None:
    p.line([(0, -0.1), (0, 0.75)], 0.09, WOOD)
    p.arc((-0.36, 0.55, 0.04, 0.95), 0, 180, 0.09, WOOD)
    p.pie((-0.98, -0.9, 0.98, 0.98), 180, 360)
    for x in (-0.65, 0, 0.65):
        p.pie((x - 0.33, -0.1, x + 0.33, 0.2), 180, 360, p.dark)
    p.line([(0, -0.9), (0, -1)], 0.08)


def _hat(p: Pen) -> None:
    p.box(-0.55, -0.85, 0.55, 0.5)
    p.box(-0.55, 0.15, 0.55, 0.42, p.dark)
    p.ellipse(-0.98, 0.3, 0.98, 0.75)


def _key(p: Pen) -> None:
    p.box(0.05, -0.13, 0.98, 0.13)
    p.box(0.5, 0.1, 0.66, 0.48)
    p.box(0.8, 0.1, 0.96, 0.4)
    p.ellipse(-0.98, -0.58, 0.18, 0.58)
    p.ellipse(-0.68, -0.28, -0.12, 0.28)
    p.erase(-0.64, -0.24, -0.16, 0.24)


def _book(p: Pen) -> None:
    p.polygon([(-0.98, -0.55), (0, -0.4), (0.98, -0.55), (0.98, 0.65), (0, 0.8), (-0.98, 0.65)])
    p.polygon([(-0.84, -0.62), (0, -0.42), (0, 0.6), (-0.84, 0.45)], (250, 246, 235))
    p.polygon([(0.84, -0.62), (0, -0.42), (0, 0.6), (0.84, 0.45)], (250, 246, 235))
    for y in (-0.2, 0.05, 0.3):
        p.line([(-0.7, y - 0.12), (-0.15, y)], 0.05)
        p.line([(0.7, y - 0.12), (0.15, y)], 0.05)


def _bell(p: Pen) -> None:
    p.dot(0, 0.75, 0.2, p.dark)
    p.dot(0, -0.85, 0.12, p.dark)
    p.polygon(
        [
            (-0.2, -0.8),
            (0.2, -0.8),
            (0.5, -0.5),
            (0.58, 0.2),
            (0.9, 0.65),
            (-0.9, 0.65),
            (-0.58, 0.2),
            (-0.5, -0.5),
        ]
    )


def _lamp(p: Pen) -> None:
    p.box(-0.07, 0, 0.07, 0.85, WOOD)
    p.ellipse(-0.45, 0.72, 0.45, 0.98, WOOD)
    p.polygon([(-0.38, -0.9), (0.38, -0.9), (0.8, 0.1), (-0.8, 0.1)])


def _candle(p: Pen) -> None:
    p.box(-0.3, -0.25, 0.3, 0.95)
    p.line([(0, -0.25), (0, -0.45)], 0.06, BLACK)
    p.polygon([(0, -1), (0.2, -0.6), (0.1, -0.38), (-0.1, -0.38), (-0.2, -0.6)], (255, 170, 40))


def _chair(p: Pen) -> None:
    for x in (-0.55, 0.4):
        p.box(x, 0.2, x + 0.15, 0.98)
    p.box(-0.55, -0.95, -0.37, 0.2)
    p.box(-0.6, 0.05, 0.6, 0.28)
    p.box(-0.5, -0.9, -0.35, -0.2, p.dark)


def _clock(p: Pen) -> None:
    p.ellipse(-0.92, -0.92, 0.92, 0.92)
    p.ellipse(-0.68, -0.68, 0.68, 0.68, (252, 250, 240))
    for x, y in regular(12, 0.56):
        p.dot(x, y, 0.05, BLACK)
    p.line([(0, -0.45), (0, 0), (0.32, 0.12)], 0.08, BLACK)


def _envelope(p: Pen) -> None:
    p.box(-0.95, -0.6, 0.95, 0.65)
    p.line([(-0.93, -0.58), (0, 0.15), (0.93, -0.58)], 0.08)
    p.line([(-0.93, 0.62), (-0.3, -0.05)], 0.05)
    p.line([(0.93, 0.62), (0.3, -0.05)], 0.05)


def _flag(p: Pen) -> None:
    p.line([(-0.7, -0.98), (-0.7, 0.98)], 0.12, WOOD)
    p.polygon(
        [
            (-0.62, -0.9),
            (-0.1, -0.75),
            (0.4, -0.95),
            (0.95, -0.8),
            (0.95, 0.1),
            (0.4, -0.05),
            (-0.1, 0.15),
            (-0.62, 0),
        ]
    )


def _ladder(p: Pen) -> None:
    for y in (-0.7, -0.35, 0, 0.35, 0.7):
        p.box(-0.45, y - 0.06, 0.45, y + 0.06)
    for x in (-0.5, 0.38):
        p.box(x, -0.98, x + 0.14, 0.98)


def _shirt(p: Pen) -> None:
    half = [(0.25, -0.8), (0.55, -0.75), (0.98, -0.25), (0.7, 0.02), (0.5, -0.18), (0.5, 0.9)]
    p.polygon([(0, -0.6), *half, *[(-x, y) for x, y in reversed(half)]])


def _boot(p: Pen) -> None:
    p.polygon([(-0.5, -0.9), (0.15, -0.9), (0.15, 0.1), (0.75, 0.3), (0.92, 0.75), (-0.5, 0.75)])
    p.box(-0.55, 0.72, 0.95, 0.92, p.dark)
    p.box(-0.56, -0.98, 0.2, -0.75, p.light)


def _apple(p: Pen) -> None:
    p.line([(0, -0.45), (0.08, -0.85)], 0.1, WOOD)
    p.ellipse(-0.85, -0.6, 0.2, 0.85)
    p.ellipse(-0.2, -0.6, 0.85, 0.85)
    p.dot(0, 0.15, 0.55, p.colour)
    p.polygon([(0.08, -0.6), (0.3, -0.92), (0.65, -0.88), (0.42, -0.6)], GREEN)


def _pear(p: Pen) -> None:
    p.line([(0, -0.7), (0.1, -0.98)], 0.1, WOOD)
    p.ellipse(-0.4, -0.8, 0.4, 0.3)
    p.ellipse(-0.68, -0.2, 0.68, 0.95)
    p.polygon([(-0.38, -0.3), (0.38, -0.3), (0.6, 0.2), (-0.6, 0.2)])
    p.dot(0, 0.05, 0.5, p.colour)


def _cherry(p: Pen) -> None:
    p.line([(-0.45, 0.3), (0.15, -0.85), (0.5, 0.2)], 0.08, GREEN)
    p.polygon([(0.15, -0.85), (0.55, -0.98), (0.8, -0.7), (0.4, -0.65)], GREEN)
    p.ellipse(-0.92, 0.05, -0.05, 0.9)
    p.ellipse(0.1, -0.05, 0.95, 0.8)
    p.dot(-0.62, 0.32, 0.09, p.light)
    p.dot(0.4, 0.22, 0.09, p.light)


def _icecream(p: Pen) -> None:
    p.polygon([(-0.45, 0), (0.45, 0), (0, 0.98)], (215, 160, 90))
    p.line([(-0.3, 0.05), (0.12, 0.65)], 0.04, WOOD)
    p.line([(0.3, 0.05), (-0.12, 0.65)], 0.04, WOOD)
    p.ellipse(-0.56, -0.8, 0.56, 0.2)
    p.dot(0.05, -0.85, 0.13, (200, 30, 50))


def _cake(p: Pen) -> None:
    for x in (-0.4, 0, 0.4):
        p.line([(x, -0.15), (x, -0.55)], 0.09, (255, 150, 170))
        p.dot(x, -0.68, 0.1, (255, 160, 40))
    p.box(-0.85, -0.15, 0.85, 0.75)
    p.box(-0.85, -0.2, 0.85, 0.1, p.light)
    p.line([(-0.98, 0.8), (0.98, 0.8)], 0.12, (230, 230, 235))


DRAW: dict[str, Callable[[Pen], None]] = {
    "cup": _cup,
    "bottle": _bottle,
    "umbrella": _umbrella,
    "hat": _hat,
    "key": _key,
    "book": _book,
    "bell": _bell,
    "lamp": _lamp,
    "candle": _candle,
    "chair": _chair,
    "clock": _clock,
    "envelope": _envelope,
    "flag": _flag,
    "ladder": _ladder,
    "shirt": _shirt,
    "boot": _boot,
    "apple": _apple,
    "pear": _pear,
    "cherry": _cherry,
    "icecream": _icecream,
    "cake": _cake,
}
