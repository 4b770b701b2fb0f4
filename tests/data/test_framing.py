from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muybridge.data import framing
from muybridge.data.framing import WHOLE, Box, Size

SIDES = st.integers(16, 2160)
SHAPES = st.tuples(SIDES, SIDES)
SIZES = st.tuples(st.integers(8, 256), st.integers(8, 256))
LINES = st.integers(0, 30)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """What bars of up to .3 of a side leave."""
    top, bottom, left, right = (draw(LINES) / 100 for _ in range(4))
    return top, 1 - bottom, left, 1 - right


def lengths(shape: Size, box: Box) -> tuple[float, float]:
    return shape[0] * (box[1] - box[0]), shape[1] * (box[3] - box[2])


@given(SHAPES, boxes(), SIZES)
@example((360, 640), WHOLE, (64, 64))
@example((480, 640), (0.125, 0.875, 0.0, 1.0), (144, 256))
@example((144, 176), WHOLE, (256, 256))
def test_what_is_kept_covers_the_size_with_an_even_rest(shape: Size, box: Box, size: Size) -> None:
    scaled, inner = framing.cover(shape, box, size)
    for whole, part, wanted in zip(scaled, inner, size, strict=True):
        kept = part.stop - part.start
        assert part.start >= 0 and part.stop <= whole
        assert kept >= wanted and (kept - wanted) % 2 == 0
    # One side fits as it is: nothing is scaled larger than need be.
    assert any(p.stop - p.start == wanted for p, wanted in zip(inner, size, strict=True))


@given(SHAPES, boxes(), SIZES)
def test_covering_keeps_the_shape_to_within_a_pixel(shape: Size, box: Box, size: Size) -> None:
    scaled, inner = framing.cover(shape, box, size)
    wanted = lengths(shape, box)
    scale = max(n / length for n, length in zip(size, wanted, strict=True))
    parts = ((box[0], box[1]), (box[2], box[3]))
    for whole, part, length, side, (start, end) in zip(
        scaled, inner, wanted, shape, parts, strict=True
    ):
        # To the nearest even rest: a pixel too many or too few.
        assert part.stop - part.start == pytest.approx(scale * length, abs=1 + 1e-6)
        assert whole == pytest.approx(scale * side, abs=1 / (end - start) + 1)
        assert part.start == pytest.approx(start * whole, abs=1)


def test_only_what_the_box_keeps_is_kept() -> None:
    # A bright picture of 360 lines between bars of 60.
    picture = np.zeros((480, 640), np.uint8)
    picture[60:420] = 200
    for size in [(64, 64), (90, 160), (144, 256), (64, 36)]:
        scaled, inner = framing.cover((480, 640), (60 / 480, 420 / 480, 0, 1), size)
        shown = cv2.resize(picture, scaled[::-1], interpolation=cv2.INTER_AREA)[inner]
        assert (shown[1:-1] == 200).all() and shown.min() > 50


@given(st.integers(0, 4), st.integers(0, 4), SIZES, st.floats(0, 1), st.floats(0, 1))
def test_a_mirrored_picture_is_cropped_alike(
    high: int, wide: int, size: Size, y: float, x: float
) -> None:
    shape = (size[0] + 2 * high, size[1] + 2 * wide)
    draw = np.random.default_rng(high * 5 + wide)
    picture = draw.integers(0, 256, (*shape, 3), np.uint8)
    cut = framing.crop(picture, (y, x), size)
    assert cut.shape == (*size, 3)
    beside = framing.crop(picture[:, ::-1], (y, 1 - x), size)
    above = framing.crop(picture[::-1], (1 - y, x), size)
    assert np.array_equal(beside[:, ::-1], cut)
    assert np.array_equal(above[::-1], cut)


@given(SHAPES, SIZES)
def test_a_mirrored_picture_is_scaled_and_cropped_alike(shape: Size, size: Size) -> None:
    _, inner = framing.cover(shape, WHOLE, size)
    for whole, part, wanted in zip(framing.cover(shape, WHOLE, size)[0], inner, size, strict=True):
        assert part == slice(0, whole)
        assert (whole - wanted) % 2 == 0


@given(
    st.tuples(st.integers(20, 60), st.integers(20, 60)), st.floats(-0.5, 1.5), st.floats(-0.5, 1.5)
)
def test_a_crop_is_as_near_its_middle_as_it_can_be(shape: Size, y: float, x: float) -> None:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    picture = np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    cut = framing.crop(picture, (y, x), (12, 16))
    assert cut.shape == (12, 16, 3)
    corner = cut[0, 0, :2].astype(int)
    assert np.array_equal(cut[..., :2], np.mgrid[:12, :16].transpose(1, 2, 0) + corner)
    for first, side, wanted, at in zip(corner, shape, (12, 16), (y, x), strict=True):
        ideal = np.clip(at * side - wanted / 2, 0, side - wanted)
        assert first == pytest.approx(ideal, abs=1.01)


BUCKETS = [(64, 64), (48, 80), (80, 48), (64, 112), (112, 64)]


@given(SHAPES, boxes())
def test_the_bucket_of_the_nearest_shape_is_chosen(shape: Size, box: Box) -> None:
    height, width = lengths(shape, box)
    chosen = framing.choose(shape, box, BUCKETS)

    def lost(size: Size) -> float:
        """Share of the picture that covering the size crops away."""
        return 1 - min(size[0] / height, size[1] / width) / max(size[0] / height, size[1] / width)

    assert chosen in BUCKETS
    assert lost(chosen) <= min(lost(size) for size in BUCKETS) + 1e-9


def test_a_picture_on_its_side_takes_the_bucket_on_its_side() -> None:
    for height, width in itertools.product((240, 360, 720, 1080), repeat=2):
        chosen = framing.choose((height, width), WHOLE, BUCKETS)
        assert framing.choose((width, height), WHOLE, BUCKETS) == chosen[::-1]
    assert framing.choose((480, 640), (0.125, 0.875, 0, 1), BUCKETS) == (64, 112)
    assert framing.choose((480, 640), WHOLE, [(33, 44)]) == (33, 44)


@given(boxes())
def test_inside_of_a_box(box: Box) -> None:
    luma = np.arange(100 * 200).reshape(100, 200) % 251
    picture = luma.astype(np.uint8)
    cut = framing.inside(picture, box)
    top, bottom, left, right = box
    expected = picture[
        round(100 * top) : round(100 * bottom), round(200 * left) : round(200 * right)
    ]
    assert np.array_equal(cut, expected) and cut.flags.c_contiguous


def test_the_inside_of_next_to_nothing_is_all() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    assert framing.inside(picture, (0.4, 0.6, 0, 1)).shape == (40, 60, 3)
    assert framing.inside(picture, (0.25, 0.75, 0, 1)).shape == (20, 60, 3)
