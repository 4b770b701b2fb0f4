from __future__ import annotations

import numpy as np
import pytest

from muybridge.core.video import Frames
from muybridge.data.stage import COLOURS, coverage
from muybridge.evaluation.permanence import passage
from muybridge.evaluation.tracker import tracks

FPS, RADIUS, SPEED = 8, 0.13, 0.37
LEFT, RIGHT = 0.34, 0.66


def hiding(
    colours: tuple[str, str] = ("red", "red"),
    shapes: tuple[str, str] = ("square", "square"),
    radii: tuple[float, float] = (RADIUS, RADIUS),
    delay: float = 0.0,
    frames: int = 16,
) -> Frames:
    """A thing that crosses from left to right behind a grey pillar; `delay` seconds behind it.

    Of each pair the second is how it comes out.
    """
    times = np.arange(frames) / FPS
    x = 0.14 + SPEED * times
    x = np.where(x > 0.5, np.maximum(x - SPEED * delay, 0.5), x)
    picture = np.full((frames, 64, 64, 3), 120.0)
    for part, place in ((x <= 0.5, 0), (x > 0.5, 1)):
        path = np.stack([x, np.full(frames, 0.85 - radii[place])], 1)
        cover = coverage(shapes[place], path, radii[place], (64, 64))[..., None]
        cover[~part] = 0
        picture = picture * (1 - cover) + np.array(COLOURS[colours[place]]) * cover
    columns = (np.arange(64) + 0.5) / 64
    picture[:, :, (columns > LEFT) & (columns < RIGHT)] = 170
    return picture.round().astype(np.uint8)


def found(clip: Frames) -> tuple[float, ...]:
    course = passage(tracks(clip, FPS))
    return course.emerged, course.late, course.colour, course.shape, course.size


@pytest.mark.parametrize("shape", ["ball", "square", "triangle"])
def test_what_comes_out_as_it_went_in_has_no_fault(shape: str) -> None:
    for clip in (hiding(shapes=(shape, shape)), hiding(shapes=(shape, shape))[:, :, ::-1]):
        emerged, late, colour, same, size = found(clip)
        assert (emerged, colour, same) == (1, 1, 1)
        assert abs(late) < 0.06 and abs(size) < 0.04


def test_what_vanishes_does_not_emerge() -> None:
    clip = hiding()
    hidden = next(i for i, t in enumerate(tracks(clip, FPS)[0].visible) if not t)
    clip[hidden:] = clip[hidden]
    assert passage(tracks(clip, FPS)).emerged == 0
    # Nothing can be said of a clip that ends while it is due behind the pillar.
    assert np.isnan(passage(tracks(clip[: hidden + 2], FPS)).emerged)


def test_what_comes_back_on_the_same_side_does_not_emerge() -> None:
    clip = hiding()
    hidden = next(i for i, t in enumerate(tracks(clip, FPS)[0].visible) if not t)
    back = np.concatenate([clip[:hidden], clip[hidden : hidden + 1], clip[:hidden][::-1]])
    assert passage(tracks(back, FPS)).emerged == 0


@pytest.mark.parametrize("delay", [-0.25, 0.25, 0.5])
def test_lateness_is_in_seconds(delay: float) -> None:
    usual = passage(tracks(hiding(), FPS)).late
    assert passage(tracks(hiding(delay=delay), FPS)).late - usual == pytest.approx(delay, abs=0.04)


def test_another_colour_is_told_apart_from_another_thing() -> None:
    emerged, late, colour, shape, size = found(hiding(colours=("red", "blue")))
    assert (emerged, colour, shape) == (1, 0, 1)
    assert abs(late) < 0.06 and abs(size) < 0.05


def test_another_shape_and_another_size() -> None:
    assert found(hiding(shapes=("square", "triangle")))[2:4] == (1, 0)
    assert found(hiding(radii=(RADIUS, 0.75 * RADIUS)))[-1] == pytest.approx(-0.25, abs=0.04)
    assert found(hiding(radii=(0.75 * RADIUS, RADIUS)))[-1] == pytest.approx(1 / 3, abs=0.06)


def test_nothing_is_said_where_nothing_hides() -> None:
    path = np.stack([np.linspace(0.2, 0.8, 16), np.full(16, 0.7)], 1)
    cover = coverage("ball", path, RADIUS, (64, 64))[..., None]
    clip = (120 * (1 - cover) + np.array(COLOURS["red"]) * cover).astype(np.uint8)
    for nothing in (clip, np.full_like(clip, 120), clip[:1]):
        assert np.isnan(found(nothing)).all()
