"""Geometric forms and buildings. Each function draws one thing, recognisable at 30 pixels, on a pen."""

from __future__ import annotations

import math
from collections.abc import Callable

from lavis_tldr.scenes.pen import BLACK, GLASS, WHITE, WOOD, Pen, regular


def _circle(p: Pen) -> None:
    p.ellipse(-0.9, -0.9, 0.9, 0.9)


def _square(p: Pen) -> None:
    p.box(-0.82, -0.82, 0.82, 0.82)


def _triangle(p: Pen) -> None:
    p.polygon([(0, -0.9), (0.95, 0.8), (-0.95, 0.8)])


def _star(p: Pen) -> None:
    p.polygon(regular(5, 1.0, inner=0.42))


def _heart(p: Pen) -> None:
    turns = [2 * math.pi * i / 48 for i in range(48)]
    p.polygon(
        [
            (
                math.sin(t) ** 3 * 0.95,
                -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 17.5,
            )
            for t in turns
        ]
    )


def _diamond(p: Pen) -> None:
    p.polygon([(0, -1), (0.68, 0), (0, 1), (-0.68, 0)])


def _cross(p: Pen) -> None:
    a, b = 0.3, 0.92
    p.polygon(
        [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    )


def _ring(p: Pen) -> None:
    p.ellipse(-0.92, -0.92, 0.92, 0.92)
    p.ellipse(-0.52, -0.52, 0.52, 0.52)
    p.erase(-0.48, -0.48, 0.48, 0.48)


def _crescent(p: Pen) -> None:
    outer = [(0.9 * math.cos(a), 0.9 * math.sin(a)) for a in (math.radians(45 + 270 * i / 40) for i in range(41))]
    inner = [
        (0.32 + 0.7 * math.cos(a), 0.7 * math.sin(a)) for a in (math.radians(295 - 230 * i / 40) for i in range(41))
    ]
    p.polygon(outer + inner)


def _hexagon(p: Pen) -> None:
    p.polygon(regular(6, 0.95, turn=0))


def _arrow(p: Pen) -> None:
    p.polygon([(-0.95, -0.25), (0.1, -0.25), (0.1, -0.7), (0.98, 0), (0.1, 0.7), (0.1, 0.25), (-0.95, 0.25)])


def _house(p: Pen) -> None:
    p.box(-0.7, -0.1, 0.7, 0.95)
    p.polygon([(-0.95, -0.1), (0, -0.95), (0.95, -0.1)], p.dark)
    p.box(-0.16, 0.4, 0.2, 0.95, WOOD)
    p.box(-0.55, 0.15, -0.27, 0.42, GLASS)
    p.box(0.33, 0.15, 0.58, 0.42, GLASS)


def _tower(p: Pen) -> None:
    p.box(-0.42, -0.5, 0.42, 0.95)
    p.box(-0.6, -0.7, 0.6, -0.4)
    for x in (-0.6, -0.12, 0.36):
        p.box(x, -0.95, x + 0.24, -0.68)
    p.box(-0.14, 0.5, 0.14, 0.95, WOOD)
    p.box(-0.09, -0.15, 0.09, 0.15, BLACK)


def _lighthouse(p: Pen) -> None:
    p.polygon([(-0.25, -0.45), (0.25, -0.45), (0.42, 0.95), (-0.42, 0.95)])
    p.polygon([(-0.31, 0.05), (0.31, 0.05), (0.36, 0.42), (-0.36, 0.42)], WHITE)
    p.box(-0.2, -0.72, 0.2, -0.45, (255, 230, 110))
    p.polygon([(-0.3, -0.72), (0, -0.98), (0.3, -0.72)], p.dark)


def _tent(p: Pen) -> None:
    p.polygon([(0, -0.75), (1, 0.8), (-1, 0.8)])
    p.polygon([(0, -0.45), (0.35, 0.8), (-0.35, 0.8)], BLACK)
    p.line([(0, -0.75), (0, -0.98)], 0.06)


def _snowman(p: Pen) -> None:
    p.ellipse(-0.6, 0, 0.6, 0.98)
    p.ellipse(-0.42, -0.65, 0.42, 0.15)
    p.box(-0.3, -0.98, 0.3, -0.6, BLACK)
    p.line([(-0.5, -0.6), (0.5, -0.6)], 0.1, BLACK)
    for x in (-0.15, 0.15):
        p.dot(x, -0.35, 0.06)
    p.polygon([(0, -0.25), (0.4, -0.16), (0, -0.12)], (245, 130, 30))
    for y in (0.3, 0.55):
        p.dot(0, y, 0.07)


DRAW: dict[str, Callable[[Pen], None]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "diamond": _diamond,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "hexagon": _hexagon,
    "arrow": _arrow,
    "house": _house,
    "tower": _tower,
    "lighthouse": _lighthouse,
    "tent": _tent,
    "snowman": _snowman,
}
