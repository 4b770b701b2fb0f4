from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, ndimage

from muybridge.core.errors import MuybridgeError, RecipeError
from muybridge.core.video import Frames, read_video
from muybridge.data.subject import (
    Kind,
    Real,
    _least_acceleration,
    _standing_out,
    path,
    shorter_side,
    window,
)

HEIGHT, WIDTH, FPS, FRAMES = 64, 114, 24, 96
SQUARE = (1, 1)
SEEN: list[Kind] = ["motion", "saliency"]


def ground(seed: int, height: int, width: int) -> Frames:
    """Texture of several sizes, as a meadow or a wall has."""
    random = np.random.default_rng(seed)
    layers = [
        np.asarray(
            cv2.resize(
                random.normal(0, 25, (height // size + 2, width // size + 2, 3)),
                (width, height),
                interpolation=cv2.INTER_CUBIC,
            )
        )
        for size in (3, 8, 24)
    ]
    return np.clip(110 + sum(layers), 0, 200).astype(np.uint8)


def scene(
    across: Real | float, pan: float = 0, noise: float = 0, seed: int = 0, frames: int = FRAMES
) -> Frames:
    """A bright textured disc, its centre at `across` (shares of the width), over a ground that
    passes by at `pan` pixels a frame."""
    random = np.random.default_rng(seed + 1)
    large = ground(seed, HEIGHT + 40, WIDTH + int(abs(pan) * frames) + 40)
    disc = np.clip(ground(seed + 2, 23, 23).astype(int) + 60, 0, 255)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    clip = []
    for t, x in enumerate(np.broadcast_to(across, (frames,)) * WIDTH):
        start = pan * t if pan >= 0 else large.shape[1] - WIDTH - 1 + pan * t
        move = np.array([[1, 0, -start], [0, 1, -10.0]])
        picture = np.asarray(cv2.warpAffine(large, move, (WIDTH, HEIGHT))).astype(float)
        place = np.array([[1, 0, x - 11.5], [0, 1, 20.0]])
        inside = ((columns + 0.5 - x) ** 2 + (rows - 31.5) ** 2 < 100)[..., None]
        over = np.asarray(cv2.warpAffine(disc.astype(float), place, (WIDTH, HEIGHT)))
        picture = np.where(inside, over, picture) + random.normal(0, noise, picture.shape)
        clip.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(clip)


def swing(seconds: float = 4.0, reach: float = 0.2) -> Real:
    """Places that swing about the middle, once in `seconds`."""
    return 0.5 + reach * np.sin(2 * np.pi * np.arange(FRAMES) / FPS / seconds)


@pytest.mark.parametrize("pan", [0.0, 0.4, 1.5, -3.0])
@pytest.mark.parametrize("noise", [0, 4])
def test_a_disc_is_followed_whatever_the_camera_does(pan: float, noise: float) -> None:
    truth = swing()
    found = path(scene(truth, pan, noise), SQUARE, "motion", fps=FPS)
    assert found.shape == (FRAMES, 2) and np.all(found[:, 0] == 0.5)
    assert np.abs(found[:, 1] - truth).max() < 0.05
    assert np.abs(found[:, 1] - truth).mean() < 0.02


def test_a_disc_that_moves_up_and_down_in_a_tall_picture_is_followed() -> None:
    truth = swing()
    turned = np.ascontiguousarray(scene(truth).swapaxes(1, 2))
    found = path(turned, SQUARE, "motion", fps=FPS)
    assert np.all(found[:, 1] == 0.5)
    assert np.abs(found[:, 0] - truth).max() < 0.05


def test_large_pictures_give_the_path_of_small_ones() -> None:
    clip = scene(swing())
    large = [np.asarray(cv2.resize(frame, (WIDTH * 4, HEIGHT * 4)), np.uint8) for frame in clip]
    small = path(clip, SQUARE, "motion", fps=FPS)
    assert np.abs(path(large, SQUARE, "motion", fps=FPS) - small).max() < 0.02


def test_what_stands_out_from_a_plain_ground_is_found() -> None:
    clip = np.full((48, HEIGHT, WIDTH, 3), 90, np.uint8)
    clip[:, 20:40, 76:92] = scene(0.5, frames=1)[0, 24:44, 50:66]
    found = path(clip, SQUARE, "saliency", fps=FPS)
    assert np.all(found == found[0]) and found[0, 1] > 0.65


def test_saliency_is_the_spectral_residual() -> None:
    """Against the formulas of the paper in the words of another library."""
    grey = scene(0.3, frames=1)[0, :, :, 1].astype(np.float32)
    spectrum = fft.fft2(grey.astype(float) - grey.mean(dtype=float))
    log = np.log(np.abs(spectrum) + 1e-3)
    residual = log - ndimage.uniform_filter(log, 3, mode="wrap")
    power = np.abs(fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    power = ndimage.gaussian_filter(power, HEIGHT / 25, mode="mirror")
    expected = np.maximum(power / power.mean() - 3, 0)
    found = _standing_out(grey)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    assert found.mean() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("noise", [0, 5])
def test_where_nothing_moves_the_crop_stays_in_the_middle(noise: float) -> None:
    found = path(scene(0.3, noise=noise), SQUARE, "motion", fps=FPS)
    assert np.all(found == found[0])
    assert found[0, 1] == pytest.approx(0.5, abs=1e-9 if noise == 0 else 0.05)


def test_a_subject_that_hardly_moves_has_a_still_crop() -> None:
    found = path(scene(0.65 + (swing(1.0) - 0.5) / 10), SQUARE, "motion", fps=FPS)
    assert np.all(found == found[0]) and found[0, 1] == pytest.approx(0.65, abs=0.03)


@pytest.mark.parametrize("fps", [12, 24, 60])
@pytest.mark.parametrize("often", [True, False])
def test_the_path_is_smooth_and_slow_even_for_a_subject_that_jumps(fps: int, often: bool) -> None:
    random = np.random.default_rng(5)
    jumps = random.uniform(0.2, 0.8, 8) if often else np.array([0.2, 0.8]).repeat(4)
    jumps = jumps.repeat(fps // 2)
    trembling = jumps + random.uniform(-0.03, 0.03, len(jumps))
    found = path(scene(trembling, frames=len(jumps)), SQUARE, "motion", fps=fps)[:, 1]
    speed = np.diff(found) * fps
    assert np.ptp(found) > 0.1  # it does follow
    assert np.abs(speed).max() < 0.51
    # A change of speed of a width a second takes a quarter of a second or longer.
    assert np.abs(speed[fps // 12 :] - speed[: -(fps // 12)]).max() < 0.35


@given(st.integers(1, 30), st.floats(0.01, 1000), st.integers(0, 10**6))
def test_the_smooth_path_is_that_of_least_squares(count: int, stiffness: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    places, weights = random.uniform(0, 1, count), random.uniform(0.01, 1, count)
    bend = np.diff(np.eye(count), n=2, axis=0) * np.sqrt(stiffness)
    rows = np.concatenate([np.diag(np.sqrt(weights)), bend])
    wanted = np.concatenate([np.sqrt(weights) * places, np.zeros(len(bend))])
    expected = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    np.testing.assert_allclose(_least_acceleration(places, weights, stiffness), expected, atol=1e-7)


@pytest.mark.parametrize("kind", SEEN)
@given(st.integers(0, 10**6), st.floats(-2, 2), st.floats(0, 6))
@settings(max_examples=8)
def test_a_mirrored_clip_has_the_mirrored_path(
    kind: Kind, seed: int, pan: float, noise: float
) -> None:
    truth = np.random.default_rng(seed).uniform(0.2, 0.8, 4)
    clip = scene(np.interp(np.linspace(0, 3, 36), range(4), truth), pan, noise, seed, 36)
    found = path(clip, SQUARE, kind, fps=FPS)
    mirrored = path(np.ascontiguousarray(clip[:, :, ::-1]), SQUARE, kind, fps=FPS)
    assert np.abs(mirrored[:, 1] - (1 - found[:, 1])).max() < 1e-3


@given(
    st.integers(1, 12),
    st.integers(16, 90),
    st.integers(16, 90),
    st.tuples(st.integers(1, 32), st.integers(1, 32)),
    st.sampled_from(SEEN),
    st.integers(0, 10**6),
)
@settings(max_examples=60)
def test_the_crop_is_inside_the_picture(
    count: int, height: int, width: int, aspect: tuple[int, int], kind: Kind, seed: int
) -> None:
    random = np.random.default_rng(seed)
    clip = random.integers(0, 256, (count, height, width, 3), np.uint8)
    found = path(clip, aspect, kind, fps=30)
    shares = np.array(window(height, width, aspect))
    assert shares.max() == 1
    assert shares[0] * height / (shares[1] * width) == pytest.approx(aspect[0] / aspect[1])
    assert found.shape == (count, 2) and np.all(np.isfinite(found))
    assert np.all(found - shares / 2 > -1e-9) and np.all(found + shares / 2 < 1 + 1e-9)


def test_the_centre_needs_no_look_at_the_pictures() -> None:
    assert np.all(path(scene(0.2, frames=5), SQUARE) == 0.5)
    # Nor does a crop of the picture's own shape.
    assert np.all(path(scene(swing()), (HEIGHT, WIDTH), "motion") == 0.5)
    assert path([], SQUARE, "motion").shape == (0, 2)


@pytest.mark.parametrize("kind", ["people", "faces"])
def test_a_detector_that_is_not_named_is_asked_for(kind: Kind) -> None:
    with pytest.raises(RecipeError, match=r"= [a-z]+ needs .*detector, which is not set"):
        path(scene(0.5, frames=2), SQUARE, kind)


def test_a_detector_that_is_none_is_refused(tmp_path: Path) -> None:
    clip = scene(0.5, frames=2)
    with pytest.raises(MuybridgeError, match="is not a file"):
        path(clip, SQUARE, "faces", str(tmp_path / "absent.onnx"))
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(MuybridgeError, match="no YuNet face detector"):
        path(clip, SQUARE, "faces", str(tmp_path / "broken.onnx"))


def test_detected_faces_are_followed_both_ways_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the network that finds what is red, a little too far to the left."""
    looked = []

    class Finder:
        def setInputSize(self, size: tuple[int, int]) -> None:
            self.size = size

        def detect(self, picture: Frames) -> tuple[int, Any]:
            assert self.size == picture.shape[1::-1]
            looked.append(picture)
            rows, columns = np.nonzero(picture[..., 2] > 200)  # blue, green, red
            if not len(rows):
                return 1, None
            face = np.zeros((1, 15), np.float32)
            face[0, :2] = columns.min() - 12, rows.min()
            face[0, 2:4], face[0, 14] = (np.ptp(columns), np.ptp(rows)), 0.9
            return 1, face

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: Finder())
    (tmp_path / "faces.onnx").touch()
    clip = np.zeros((FRAMES, 90, 160, 3), np.uint8)
    truth = swing()
    for frame, x in zip(clip, truth * 160, strict=True):
        frame[30:60, round(x - 10) : round(x + 10), 0] = 255
    clip[40:50] = 0  # unseen for a while
    found = path(clip, SQUARE, "faces", str(tmp_path / "faces.onnx"), FPS)
    assert np.abs(found[:, 1] - truth).max() < 0.05
    assert len(looked) == 2 * 17  # four times a second, each also mirrored
    assert shorter_side("faces") > shorter_side("motion")


def test_a_signer_is_in_the_crop_of_a_real_film(shared: Path) -> None:
    """A signer moves arms in front of a still wall: the crop holds most of what changes."""
    name = min((shared / "footage/real").glob("asl_*.mkv"))
    frames = read_video(name)[0]
    small = np.stack([cv2.resize(f, (86, 64), interpolation=cv2.INTER_AREA) for f in frames])
    found = path(small, (16, 9), "motion", fps=30)
    change = np.abs(np.diff(small.astype(float), axis=0)).mean((0, 1, 3))
    share = window(64, 86, (16, 9))[1]
    middle = found[:, 1].mean()
    places = (np.arange(86) + 0.5) / 86

    def held(centre: float) -> float:
        return float(change[np.abs(places - centre) < share / 2].sum() / change.sum())

    best = max(held(centre) for centre in np.linspace(share / 2, 1 - share / 2, 50))
    assert held(middle) > 0.9 * best
