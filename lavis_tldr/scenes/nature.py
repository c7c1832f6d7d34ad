"""Plants and animals. Each function draws one thing, recognisable at 30 pixels, on a pen."""

from __future__ import annotations

from collections.abc import Callable

from lavis_tldr.scenes.pen import BLACK, GREEN, WHITE, WOOD, Pen, regular


def _tree(p: Pen) -> None:
    p.box(-0.15, 0.25, 0.15, 0.98, WOOD)
    for x, y in ((-0.4, 0.05), (0.4, 0.05), (0, -0.4)):
        p.ellipse(x - 0.52, y - 0.5, x + 0.52, y + 0.45)
    p.dot(0, -0.05, 0.36, p.colour)


def _pine(p: Pen) -> None:
    p.box(-0.12, 0.65, 0.12, 0.98, WOOD)
    for top, half in ((0.05, 0.78), (-0.4, 0.6), (-0.95, 0.42)):
        p.polygon([(0, top), (half, top + 0.65), (-half, top + 0.65)])


def _flower(p: Pen) -> None:
    p.line([(0, 0), (0, 0.98)], 0.1, GREEN)
    p.polygon([(0, 0.8), (0.42, 0.45), (0.2, 0.85)], GREEN)
    for x, y in regular(6, 0.42):
        p.ellipse(x - 0.25, y - 0.55, x + 0.25, y - 0.05)
    p.dot(0, -0.3, 0.22, (250, 205, 50) if p.colour[2] > 60 or p.colour[1] < 180 else WOOD)


def _cactus(p: Pen) -> None:
    p.line([(-0.6, -0.3), (-0.6, 0.2), (0, 0.2)], 0.3, p.colour)
    p.line([(0.6, -0.55), (0.6, -0.05), (0, -0.05)], 0.3, p.colour)
    p.ellipse(-0.28, -0.98, 0.28, 0.98)
    for x in (-0.1, 0.1):
        p.line([(x, -0.7), (x, 0.75)], 0.04)


def _mushroom(p: Pen) -> None:
    p.box(-0.25, 0, 0.25, 0.92, (240, 228, 205))
    p.pie((-0.95, -0.9, 0.95, 0.95), 180, 360)
    for x, y, r in ((-0.5, -0.25, 0.13), (0, -0.55, 0.15), (0.45, -0.25, 0.12)):
        p.dot(x, y, r, WHITE if sum(p.colour) < 690 else (200, 40, 40))


def _fish(p: Pen) -> None:
    p.polygon([(0.4, 0), (0.98, -0.5), (0.85, 0), (0.98, 0.5)], p.dark)
    p.polygon([(-0.2, -0.4), (0.25, -0.75), (0.3, -0.3)], p.dark)
    p.ellipse(-0.95, -0.5, 0.6, 0.5)
    p.dot(-0.58, -0.12, 0.14, WHITE)
    p.dot(-0.6, -0.12, 0.07, BLACK)
    p.arc((-0.5, -0.35, -0.1, 0.35), -70, 70, 0.06)


def _bird(p: Pen) -> None:
    p.polygon([(0.5, 0.1), (0.98, -0.15), (0.9, 0.3)], p.dark)
    for x in (-0.1, 0.12):
        p.line([(x, 0.5), (x, 0.95)], 0.06, (200, 120, 30))
    p.ellipse(-0.5, -0.3, 0.75, 0.6)
    p.ellipse(-0.8, -0.75, -0.1, -0.05)
    p.polygon([(-0.76, -0.5), (-0.98, -0.34), (-0.74, -0.25)], (245, 165, 30))
    p.polygon([(-0.15, 0), (0.6, 0.05), (0.15, 0.42)], p.dark)
    p.dot(-0.52, -0.48)


def _duck(p: Pen) -> None:
    p.polygon([(0.5, 0.15), (0.98, -0.3), (0.9, 0.5)])
    p.ellipse(-0.75, -0.05, 0.9, 0.85)
    p.ellipse(-0.8, -0.85, -0.1, -0.1)
    p.dot(-0.42, 0.08, 0.28, p.colour)
    p.ellipse(-0.99, -0.5, -0.68, -0.28, (245, 140, 20))
    p.arc((-0.25, 0.1, 0.6, 0.65), 0, 180, 0.07)
    p.dot(-0.52, -0.55)


def _cat(p: Pen) -> None:
    p.arc((0.2, 0, 0.95, 0.9), -60, 110, 0.16, p.dark)
    p.ellipse(-0.5, 0, 0.5, 0.98)
    for side in (-1, 1):
        p.polygon([(side * 0.5, -0.35), (side * 0.48, -0.98), (side * 0.08, -0.68)])
    p.ellipse(-0.55, -0.75, 0.55, 0.18)
    for x in (-0.22, 0.22):
        p.dot(x, -0.34, 0.09)
    p.polygon([(-0.08, -0.16), (0.08, -0.16), (0, -0.06)], (240, 140, 160))
    for side in (-1, 1):
        p.line([(side * 0.2, -0.1), (side * 0.72, -0.18)], 0.03)
        p.line([(side * 0.2, -0.04), (side * 0.72, 0.04)], 0.03)


def _dog(p: Pen) -> None:
    p.line([(0.7, -0.1), (0.95, -0.5)], 0.14, p.dark)
    for x in (-0.35, -0.1, 0.38, 0.62):
        p.box(x, 0.3, x + 0.18, 0.92)
    p.ellipse(-0.5, -0.2, 0.85, 0.55)
    p.ellipse(-0.85, -0.8, -0.1, 0)
    p.ellipse(-0.99, -0.45, -0.5, -0.08, p.light)
    p.dot(-0.93, -0.33, 0.09, BLACK)
    p.ellipse(-0.36, -0.75, -0.05, 0.02, p.dark)
    p.dot(-0.6, -0.52)


def _rabbit(p: Pen) -> None:
    for x in (-0.42, 0.08):
        p.ellipse(x, -0.98, x + 0.34, -0.1)
        p.ellipse(x + 0.1, -0.82, x + 0.24, -0.3, (245, 175, 190))
    p.ellipse(-0.6, 0.15, 0.6, 0.98)
    p.ellipse(-0.5, -0.4, 0.5, 0.4)
    for x in (-0.2, 0.2):
        p.dot(x, -0.08)
    p.dot(0, 0.1, 0.08, (235, 110, 140))


def _turtle(p: Pen) -> None:
    p.ellipse(-0.98, -0.05, -0.5, 0.42, p.light)
    for x in (-0.5, 0.35):
        p.box(x, 0.35, x + 0.25, 0.72, p.light)
    p.pie((-0.7, -0.65, 0.85, 1.4), 180, 360)
    p.line([(-0.2, -0.5), (-0.3, 0.35)], 0.06)
    p.line([(0.35, -0.5), (0.45, 0.35)], 0.06)
    p.line([(-0.62, 0), (0.78, 0)], 0.06)
    p.dot(-0.8, 0.12, 0.07, BLACK)


def _snail(p: Pen) -> None:
    p.line([(-0.75, -0.1), (-0.9, -0.5)], 0.06)
    p.line([(-0.62, -0.1), (-0.55, -0.5)], 0.06)
    p.polygon([(-0.98, 0.1), (-0.55, -0.12), (-0.3, 0.4), (0.95, 0.75), (-0.75, 0.75)], p.light)
    p.ellipse(-0.4, -0.7, 0.8, 0.55)
    p.arc((-0.2, -0.5, 0.6, 0.35), 0, 320, 0.08)
    p.arc((0, -0.28, 0.42, 0.15), 40, 330, 0.08)
    p.dot(-0.9, -0.52, 0.07, BLACK)
    p.dot(-0.55, -0.52, 0.07, BLACK)


def _butterfly(p: Pen) -> None:
    for side in (-1, 1):
        p.polygon([(0, -0.1), (side * 0.5, -0.95), (side * 0.98, -0.75), (side * 0.85, -0.1)])
        p.polygon([(0, 0), (side * 0.75, 0.05), (side * 0.7, 0.7), (side * 0.3, 0.8)], p.light)
        p.line([(0, -0.5), (side * 0.2, -0.9)], 0.05, BLACK)
        p.dot(side * 0.62, -0.55, 0.14, WHITE)
    p.ellipse(-0.1, -0.55, 0.1, 0.7, BLACK)


def _whale(p: Pen) -> None:
    p.polygon([(0.6, 0.25), (0.7, -0.45), (0.85, -0.2), (1, -0.45), (0.9, 0.3)])
    p.pie((-0.95, -0.75, 0.95, 1.0), 0, 180)
    p.ellipse(-0.95, -0.4, 0.55, 0.75)
    p.arc((-0.6, -0.98, -0.25, -0.4), 190, 350, 0.07, (70, 150, 230))
    p.arc((-0.25, -0.98, 0.1, -0.4), 190, 350, 0.07, (70, 150, 230))
    p.dot(-0.6, 0.05, 0.09)
    p.arc((-1.0, 0.0, -0.4, 0.5), 20, 120, 0.06)


DRAW: dict[str, Callable[[Pen], None]] = {
    "tree": _tree,
    "pine": _pine,
    "flower": _flower,
    "cactus": _cactus,
    "mushroom": _mushroom,
    "fish": _fish,
    "bird": _bird,
    "duck": _duck,
    "cat": _cat,
    "dog": _dog,
    "rabbit": _rabbit,
    "turtle": _turtle,
    "snail": _snail,
    "butterfly": _butterfly,
    "whale": _whale,
}
