"""Lines of drawings by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from muybridge.core.video import Frames
from muybridge.generation import drawings

SIDE = 64 * drawings.FINER


def drawn(broad: int, ink: int = 0, paper: int = 255) -> Frames:
    """A circle and a line by a pen of some width, with a little noise of paper."""
    picture = np.full((SIDE, SIDE, 3), paper, np.uint8)
    cv2.circle(picture, (SIDE // 2, SIDE // 2), SIDE // 4, (ink,) * 3, broad)
    cv2.line(picture, (10, 20), (SIDE - 20, SIDE - 30), (ink,) * 3, broad)
    noise = np.random.default_rng(0).normal(0, 5, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def truth() -> np.ndarray:
    picture = np.zeros((64, 64), np.uint8)
    cv2.circle(picture, (32, 32), 16, 1, 1)
    cv2.line(picture, (2, 5), (59, 56), 1, 1)
    return picture


def f1(found: np.ndarray, real: np.ndarray) -> float:
    """Within a pixel."""
    wide = [cv2.dilate(one.astype(np.uint8), np.ones((3, 3))) for one in (found, real)]
    precision = float((found * wide[1]).sum() / max(1, found.sum()))
    recall = float((real * wide[0]).sum() / real.sum())
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("broad", [1, 2, 4, 8])
@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (90, 220)])
def test_lines_of_any_pen_are_found(broad: int, ink: int, paper: int) -> None:
    found, what = drawings.lines(drawn(broad, ink, paper))
    assert found.shape == (64, 64)
    assert f1(found, truth()) > 0.9
    assert found.sum() < 3.2 * truth().sum()
    assert ("light lines" in what) == (ink > paper)


def test_an_empty_sheet_has_no_lines() -> None:
    found, what = drawings.lines(np.full((SIDE, SIDE, 3), 250, np.uint8))
    assert not found.any() and what == "nothing is drawn"


def test_of_a_photograph_the_edges_are_taken() -> None:
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[..., 1] = np.linspace(20, 90, SIDE)
    picture[SIDE // 4 : 3 * SIDE // 4, SIDE // 4 : 3 * SIDE // 4] = (240, 200, 180)
    found, what = drawings.lines(picture)
    assert "photograph" in what
    rows, columns = np.nonzero(found)
    assert {rows.min(), rows.max(), columns.min(), columns.max()} <= {15, 16, 47, 48}
