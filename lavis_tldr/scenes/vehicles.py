"""Vehicles and things that fly. Each function draws one thing, recognisable at 30 pixels, on a pen."""

from __future__ import annotations

from collections.abc import Callable

from lavis_tldr.scenes.pen import BLACK, GLASS, WOOD, Pen


def _wheels(p: Pen, y: float, radius: float, places: tuple[float, ...]) -> None:
    for x in places:
        p.dot(x, y, radius, BLACK)
        p.dot(x, y, radius * 0.45, (190, 190, 195))


def _boat(p: Pen) -> None:
    p.polygon([(-0.95, 0.4), (0.95, 0.4), (0.6, 0.9), (-0.6, 0.9)])
    p.line([(0, -0.95), (0, 0.4)], 0.09, WOOD)
    p.polygon([(0.1, -0.9), (0.8, 0.25), (0.1, 0.25)], p.light)
    p.polygon([(-0.1, -0.6), (-0.6, 0.25), (-0.1, 0.25)])


def _car(p: Pen) -> None:
    p.polygon([(-0.55, 0), (-0.35, -0.5), (0.35, -0.5), (0.6, 0)])
    p.box(-0.98, -0.02, 0.98, 0.45)
    p.polygon([(-0.42, -0.04), (-0.28, -0.38), (-0.03, -0.38), (-0.03, -0.04)], GLASS)
    p.polygon([(0.06, -0.04), (0.06, -0.38), (0.28, -0.38), (0.44, -0.04)], GLASS)
    _wheels(p, 0.47, 0.24, (-0.55, 0.55))


def _bus(p: Pen) -> None:
    p.box(-0.98, -0.6, 0.98, 0.5)
    for x in (-0.85, -0.4, 0.05, 0.5):
        p.box(x, -0.42, x + 0.34, -0.02, GLASS)
    _wheels(p, 0.52, 0.2, (-0.55, 0.55))


def _train(p: Pen) -> None:
    p.box(-0.95, -0.2, 0.35, 0.4)
    p.box(0.2, -0.7, 0.9, 0.4)
    p.box(0.35, -0.52, 0.75, -0.12, GLASS)
    p.polygon([(-0.8, -0.75), (-0.4, -0.75), (-0.5, -0.2), (-0.7, -0.2)], p.dark)
    _wheels(p, 0.5, 0.22, (-0.68, -0.12, 0.55))


def _rocket(p: Pen) -> None:
    p.polygon([(-0.22, 0.6), (0, 0.98), (0.22, 0.6)], (255, 150, 30))
    p.polygon([(-0.35, 0.1), (-0.75, 0.7), (-0.35, 0.6)], p.dark)
    p.polygon([(0.35, 0.1), (0.75, 0.7), (0.35, 0.6)], p.dark)
    p.polygon([(0, -0.98), (0.3, -0.5), (0.36, 0.62), (-0.36, 0.62), (-0.3, -0.5)])
    p.ellipse(-0.18, -0.4, 0.18, -0.04, GLASS)


def _airplane(p: Pen) -> None:
    p.polygon([(-0.9, -0.6), (-0.65, -0.6), (-0.4, -0.05), (-0.8, -0.05)])
    p.polygon([(-0.1, -0.1), (-0.35, -0.75), (-0.1, -0.75), (0.35, -0.1)], p.dark)
    p.ellipse(-0.95, -0.25, 0.98, 0.22)
    p.polygon([(-0.15, 0.05), (-0.5, 0.85), (-0.2, 0.85), (0.35, 0.05)], p.dark)
    for x in (0.1, 0.35, 0.6):
        p.dot(x, -0.06, 0.07, GLASS)


def _balloon(p: Pen) -> None:
    p.line([(0, 0.4), (0.1, 0.65), (-0.06, 0.98)], 0.05, (90, 90, 95))
    p.polygon([(-0.12, 0.5), (0, 0.32), (0.12, 0.5)])
    p.ellipse(-0.62, -0.98, 0.62, 0.4)
    p.dot(-0.25, -0.55, 0.12, p.light)


def _kite(p: Pen) -> None:
    p.line([(0, 0.35), (0.2, 0.6), (-0.1, 0.8), (0.15, 0.98)], 0.06, (90, 90, 95))
    p.polygon([(0, -0.98), (0.6, -0.4), (0, 0.4), (-0.6, -0.4)])
    p.line([(0, -0.95), (0, 0.38)], 0.06)
    p.line([(-0.58, -0.4), (0.58, -0.4)], 0.06)
    for x, y in ((0.12, 0.58), (0.02, 0.78)):
        p.polygon([(x - 0.16, y - 0.09), (x + 0.16, y + 0.09), (x + 0.16, y - 0.09), (x - 0.16, y + 0.09)])


DRAW: dict[str, Callable[[Pen], None]] = {
    "boat": _boat,
    "car": _car,
    "bus": _bus,
    "train": _train,
    "rocket": _rocket,
    "airplane": _airplane,
    "balloon": _balloon,
    "kite": _kite,
}
