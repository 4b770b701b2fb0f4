"""How the stage looks: walls, floors, light, shadow and pillars, and the things drawn among them.

Everything but the things has little colour, so that hue alone tells where they are.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..core.video import Frames
from .physics import Movement
from .shapes import Size, by_frame, grid, turned

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Thing:
    """One thing to be drawn: its own colour (0 to 255), shape, movement, and `cover`, (time,
    height, width), how much of each pixel it covers.
    """

    rgb: tuple[int, int, int]
    shape: str
    movement: Movement
    cover: Array


def pillar_cover(movement: Movement, size: Size) -> Array:
    """How much of each pixel the pillar covers, 0 to 1: (height, width)."""
    if movement.pillar is None:
        return np.zeros(size, np.float32)
    x, y = grid(size)
    left, right = movement.pillar
    foot = movement.floor + 0.04
    inside = np.minimum(np.minimum(x - left, right - x), foot - y)
    return np.asarray(np.clip(inside * size[0] + 0.5, 0, 1), np.float32)


def paint(rng: np.random.Generator, things: Sequence[Thing]) -> Frames:
    """Draws a clip.

    Args:
        rng: chance: textures, tones and light.
        things: what is drawn, on one floor; only the first may have a pillar before it.

    Returns:
        (time, height, width, 3) uint8.
    """
    cover, movement = things[0].cover, things[0].movement
    size: Size = (cover.shape[1], cover.shape[2])
    wall, tone = _backdrop(rng, size, movement.floor)
    pillar, front = _stone(rng, size, movement, tone), pillar_cover(movement, size)[..., None]
    light, side = _light(rng, size)
    frames = np.empty((*cover.shape, 3), np.uint8)
    # A few frames at a time: whole arrays are fast, but a large clip must not fill the memory.
    step = max(1, 2**17 // (size[0] * size[1]))
    for begin in range(0, len(cover), step):
        part = slice(begin, begin + step)
        picture, surfaces = wall, []
        for thing in things:
            shade, gleam, shadow = _shading(thing, part, size, side)
            picture = picture * (1 - shadow)[..., None]
            colour = np.array(thing.rgb, np.float32) / 255
            surfaces.append(colour * shade[..., None] + gleam[..., None])
        for thing, surface in zip(things, surfaces, strict=True):
            picture += thing.cover[part, ..., None] * (surface - picture)
        if movement.pillar:
            picture += front * (pillar - picture)
        picture *= light[..., None] * 255
        frames[part] = np.clip(picture + 0.5, 0, 255)
    return frames


def _shading(thing: Thing, part: slice, size: Size, side: float) -> tuple[Array, Array, Array]:
    """The thing's own light and dark, its highlight, and its shadow: (time, height, width) each."""
    x, y = grid(size)
    movement, floor = thing.movement, thing.movement.floor
    position = movement.position[part].astype(np.float32)[:, :, None, None]
    radius = by_frame(movement.radius if movement.sizes is None else movement.sizes[part])
    across, down = (x - position[:, 0]) / radius, (y - position[:, 1]) / radius
    shade = 1 - 0.12 * np.clip(down + side * across, -1.5, 1.5)
    if thing.shape == "ball":
        shade = shade - 0.12 * np.clip(across**2 + down**2, 0, 1)
        gleam = 0.22 * np.exp(-((across + 0.4 * side) ** 2 + (down + 0.45) ** 2) / 0.07)
        if movement.angles is not None:
            shade = shade * (1 - 0.4 * _bar(*turned(across, down, movement.angles[part])))
    else:
        gleam = np.zeros_like(shade)
    # A shadow on the floor grows wider and weaker as the thing rises from it.
    height = np.maximum(floor - radius - position[:, 1], 0) / radius
    spread = (x - position[:, 0] - 0.1 * side * radius) / (radius * (1.0 + 0.25 * height))
    depth = (y - floor) / (0.05 + 0.015 * height)
    shadow = 0.5 / (1 + 0.7 * height) * np.exp(-(spread**2) - depth**2)
    return shade, gleam, shadow


def _bar(across: Array, down: Array) -> Array:
    """What shows that a ball turns: a bar within its outline, 0 to 1, darker but of its hue."""
    distance = np.maximum(np.abs(across) - 0.7, np.abs(down) - 0.24)
    return np.asarray(np.clip(0.5 - distance / 0.1, 0, 1), np.float32)


def _tone(rng: np.random.Generator, value: float) -> Array:
    """A colour that is nearly grey."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.02, 0.2), value), np.float32)


def _backdrop(rng: np.random.Generator, size: Size, floor: float) -> tuple[Array, float]:
    """Wall and floor (height, width, 3), and how bright the wall is."""
    _, y = grid(size)
    bright = float(rng.uniform(0.35, 0.85))
    ground = float(np.clip(bright + rng.choice([-1, 1]) * rng.uniform(0.14, 0.3), 0.25, 0.92))
    line = floor - rng.uniform(0.03, 0.09)
    below = np.clip((y - line) * size[0] + 0.5, 0, 1)[..., None]
    picture = _pattern(rng, size, bright) * (1 - below) + _pattern(rng, size, ground) * below
    # The line where they meet is drawn, so that the floor can be told even in equal tones.
    seam = np.exp(-(((y - line) / 0.012) ** 2))[..., None]
    return (picture * (1 - 0.35 * seam)).astype(np.float32), bright


def _pattern(rng: np.random.Generator, size: Size, value: float) -> Array:
    """A surface of two near-grey tones around `value`, mixed by a texture: (height, width, 3)."""
    x, y = grid(size)
    kind = rng.choice(["plaster", "stripes", "checker", "wood", "tiles"])
    scale, phase, turn = rng.uniform(0.1, 0.3), rng.uniform(0, 1, 2), rng.uniform(0, np.pi)
    rough = _noise(rng, size, 5) + 0.5 * _noise(rng, size, 17)
    if kind == "stripes":
        along = x * np.cos(turn) + y * np.sin(turn)
        texture = np.tanh(2.5 * np.sin(2 * np.pi * (along / scale + phase[0])))
    elif kind == "checker":
        columns, rows = x / scale + phase[0], y / scale + phase[1]
        texture = np.tanh(4 * np.sin(np.pi * columns) * np.sin(np.pi * rows))
    elif kind == "wood":
        grain = y / scale * 1.5 + 0.35 * _noise(rng, size, 3) + 0.1 * x
        texture = np.sin(2 * np.pi * grain) * 0.6 + 0.4 * np.sin(6 * np.pi * grain)
    elif kind == "tiles":
        texture = 1 - 2 * _joints(x, y, scale, phase)
    else:
        texture = 1.3 * rough
    mix = 0.5 + 0.5 * np.clip(0.8 * texture + 0.25 * rough, -1, 1)[..., None]
    contrast = rng.uniform(0.05, 0.13)
    low, high = _tone(rng, max(value - contrast, 0.1)), _tone(rng, min(value + contrast, 0.98))
    return np.asarray(low + mix * (high - low), np.float32)


def _joints(x: Array, y: Array, scale: float, phase: npt.NDArray[np.float64]) -> Array:
    """The mortar between courses of blocks, each shifted by half a block: 1 in a joint, else 0."""
    row = y / (scale * 0.6) + phase[1]
    column = x / scale + phase[0] + 0.5 * (np.floor(row) % 2)
    gap_row, gap_column = np.abs(row - np.rint(row)) * 0.6, np.abs(column - np.rint(column))
    joint = np.exp(-((np.minimum(gap_row, gap_column) * scale / 0.012) ** 2))
    return np.asarray(joint, np.float32)


def _noise(rng: np.random.Generator, size: Size, cells: int) -> Array:
    """Smooth noise of about unit spread, the same picture at any size of one shape."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(
        cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _stone(rng: np.random.Generator, size: Size, movement: Movement, wall: float) -> Array:
    """A round pillar of grey blocks, lighter or darker than the wall: (height, width, 3)."""
    if movement.pillar is None:
        return np.zeros((*size, 3), np.float32)
    x, y = grid(size)
    left, right = movement.pillar
    value = wall + (0.25 if wall < 0.58 else -0.25)
    grey = _tone(rng, value) * 0.4 + value * 0.6
    blocks = 1 - 0.3 * _joints(x, y, (right - left) * 0.7, rng.uniform(0, 1, 2))
    middle = (x - (left + right) / 2) / ((right - left) / 2)
    turned = 1.05 - 0.4 * np.clip(middle, -1, 1) ** 2
    grain = 1 + 0.06 * (_noise(rng, size, 9) + _noise(rng, size, 25))
    return np.asarray(grey * (blocks * turned * grain)[..., None], np.float32)


def _light(rng: np.random.Generator, size: Size) -> tuple[Array, float]:
    """Brightness over the picture (height, width), and the side it comes from: -1 left, 1 right."""
    x, y = grid(size)
    side = float(rng.choice([-1.0, 1.0]))
    across = (x * size[0] / size[1] - 0.5) * side
    fall = rng.uniform(0.05, 0.3) * across - rng.uniform(0, 0.25) * (y - 0.5)
    soft = 0.06 * _noise(rng, size, 3)
    return (rng.uniform(0.78, 1.05) + fall + soft).astype(np.float32), -side
