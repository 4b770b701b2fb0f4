from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from muybridge.core import decoding, video
from muybridge.core.errors import DataError
from muybridge.core.video import Frames
from muybridge.data import framing, repair

HEIGHT, WIDTH = 96, 128


def texture(seed: int, height: int = 240, width: int = 320) -> Frames:
    """Discs of all sizes and colours on one another."""
    draw = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 120, np.float32)
    for radius in np.sort(np.minimum(3 / np.sqrt(draw.uniform(0.001, 1, 900)), 60))[::-1]:
        middle = (int(draw.integers(0, width)), int(draw.integers(0, height)))
        cv2.circle(picture, middle, max(1, int(radius)), draw.uniform(30, 220, 3).tolist(), -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.9).round(), np.uint8)


def moved(picture: Frames, right: float, down: float) -> Frames:
    shift = np.array([[1, 0, -40 - right], [0, 1, -40 - down]], np.float32)
    made = cv2.warpAffine(picture, shift, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
    return np.asarray(made, np.uint8)


def psnr(first: Frames, second: Frames, edge: int = 10) -> float:
    """Without the edges, into which comes what neither picture shows."""
    assert first.shape == second.shape
    inner = np.s_[edge:-edge, edge:-edge]
    apart = first[inner].astype(float) - second[inner]
    return float(-10 * np.log10(np.square(apart / 255).mean() + 1e-12))


def mean_of(first: Frames, second: Frames, share: float = 0.5) -> Frames:
    return np.rint(first * (1 - share) + second * share).astype(np.uint8)


@pytest.mark.parametrize("size", [(96, 128), (12, 12)])
def test_the_ends_are_the_pictures_themselves(size: tuple[int, int]) -> None:
    first, second = texture(0)[: size[0], : size[1]], texture(1)[: size[0], : size[1]]
    before = first.copy(), second.copy()
    assert np.array_equal(repair.interpolate(first, second, 0), first)
    assert np.array_equal(repair.interpolate(first, second, 1), second)
    repair.interpolate(first, second, 0.5)
    assert np.array_equal(first, before[0]) and np.array_equal(second, before[1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("far", [(2, 0), (0, -5), (6, 3), (-10, 0)])
@pytest.mark.parametrize("share", [0.25, 0.5, 2 / 3])
def test_between_lies_what_was_there(seed: int, far: tuple[int, int], share: float) -> None:
    whole = texture(seed)
    first, second = moved(whole, 0, 0), moved(whole, *far)
    truth = moved(whole, share * far[0], share * far[1])
    made = repair.interpolate(first, second, share)
    assert made.dtype == np.uint8 and made.shape == first.shape
    assert psnr(made, truth) > 32
    assert psnr(made, truth) > min(42, 8 + psnr(mean_of(first, second, share), truth))


@pytest.mark.parametrize("zoom", [1.25, 1.35])
def test_what_moves_at_many_speeds_is_carried_to_its_place(zoom: float) -> None:
    whole = texture(11)

    def zoomed(by: float) -> Frames:
        turn = cv2.getRotationMatrix2D((160, 120), 0, by) + np.array([[0, 0, -96], [0, 0, -72]])
        return np.asarray(cv2.warpAffine(whole, turn, (WIDTH, HEIGHT)), np.uint8)

    # Each point goes the same way in the same time.
    made = repair.interpolate(zoomed(1), zoomed(zoom), 0.5)
    assert psnr(made, zoomed((1 + zoom) / 2), 16) > 46.5


def test_a_still_picture_stays() -> None:
    still = moved(texture(4), 0, 0)
    assert psnr(repair.interpolate(still, still, 0.4), still) > 50


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_mirrored_and_swapped_pictures_give_the_mirrored_and_the_same(share: float) -> None:
    whole = texture(5)
    first, second = moved(whole, 0, 0), moved(whole, 5, 2)
    made = repair.interpolate(first, second, share)
    sides: list[Callable[[Frames], Frames]] = [
        lambda p: np.ascontiguousarray(p[:, ::-1]),
        lambda p: np.ascontiguousarray(p[::-1]),
    ]
    for mirror in sides:
        other = repair.interpolate(mirror(first), mirror(second), share)
        assert psnr(mirror(other), made) > 40
    assert psnr(repair.interpolate(second, first, 1 - share), made) > 40


def passing(at: float) -> Frames:
    """A disc of bright texture that passes before a darker one."""
    behind = moved(texture(6), 0, 0) // 2
    before = np.roll(moved(texture(7), 0, 0) // 2 + 110, round(at), 1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = (x - at) ** 2 + (y - HEIGHT / 2) ** 2 < 14**2
    return np.where(disc[..., None], before, behind)


@pytest.mark.parametrize("far", [4, 8, 12, 20])
def test_what_is_hidden_in_one_picture_leaves_no_ghost(far: int) -> None:
    first, truth, second = passing(50), passing(50 + far / 2), passing(50 + far)
    made = repair.interpolate(first, second, 0.5)

    def ghosts(picture: Frames) -> float:
        return float((np.abs(picture.astype(int) - truth).max(-1) > 40).mean())

    # The mean shows the disc twice, at half strength.
    assert ghosts(mean_of(first, second)) > 0.015
    assert ghosts(made) < 0.15 * ghosts(mean_of(first, second))
    assert psnr(made, truth) > 9 + psnr(mean_of(first, second), truth)


@pytest.mark.parametrize(
    ("name", "skip", "better"),
    [("bikes.mp4", 1, 8), ("bikes.mp4", 2, 6), ("pancake.mkv", 1, 1), ("asl_walk.mkv", 1, 1)],
)
def test_real_frames_are_made_up_better_than_by_their_mean(
    shared: Path, name: str, skip: int, better: float
) -> None:
    frames = []
    for frame in decoding.frames(shared / "footage/real" / name):
        frames.append(frame.picture((90, 160)))
        if len(frames) == 26:
            break
    gains = []
    for index in range(skip, 26 - skip, 3):
        first, truth, second = (frames[index + n] for n in (-skip, 0, skip))
        if min(psnr(truth, first), psnr(truth, second)) < 45:  # else it was repeated
            made = repair.interpolate(first, second, 0.5)
            gains.append(psnr(made, truth, 2) - psnr(mean_of(first, second), truth, 2))
    assert np.mean(gains) > better


def test_pictures_too_small_for_flow_are_mixed() -> None:
    first, second = np.full((8, 12, 3), 40, np.uint8), np.full((8, 12, 3), 80, np.uint8)
    assert np.unique(repair.interpolate(first, second, 0.25)).tolist() == [50]


def footage(noise: float, seed: int = 0) -> tuple[Frames, Frames]:
    """A square that moves by six pixels a frame before a still texture: clean, and with noise."""
    clean = np.repeat(moved(texture(8), 0, 0)[None] // 2 + 20, 12, 0)
    for index, picture in enumerate(clean):
        picture[30:60, 6 * index : 6 * index + 24] = (240, 200, 220)
    added = np.random.default_rng(seed).normal(0, noise, clean.shape)
    return clean, (clean + added).clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("noise", [4, 8, 15])
def test_the_median_in_time_lowers_noise(noise: float) -> None:
    clean, noisy = footage(noise)
    made = repair.denoise(noisy, "median")
    assert made.dtype == np.uint8 and made.shape == noisy.shape
    error = [np.square(frames[1:-1].astype(float) - clean[1:-1]).mean() for frames in (noisy, made)]
    assert error[1] < 0.75 * error[0]
    # It is no darker than it was.
    assert abs(float(made.astype(float).mean() - noisy.mean())) < 0.3


def test_the_median_in_time_leaves_what_moves() -> None:
    clean, noisy = footage(4)
    made = repair.denoise(noisy, "median").astype(float)
    for index in range(1, 11):
        left = 6 * index
        for edge in (np.s_[30:60, left : left + 6], np.s_[30:60, left + 18 : left + 24],
                     np.s_[30:60, left - 6 : left]):  # fmt: skip
            assert np.abs(made[index][edge] - clean[index][edge]).mean() < 6
    # A plain median would tear a flash out of one frame.
    clean[5, 70:80, 70:80] = 255
    assert np.abs(repair.denoise(clean, "median")[5].astype(int) - clean[5]).max() <= 3


def test_footage_without_noise_is_left() -> None:
    clean, _ = footage(0)
    assert np.abs(repair.denoise(clean, "median").astype(int) - clean).max() <= 3
    one = clean[:1]
    assert np.array_equal(repair.denoise(one, "median"), one)


def test_non_local_means_lower_noise() -> None:
    clean, noisy = footage(6)
    made = repair.denoise(noisy[:2], "nlm")
    error = [np.square(frames[:2].astype(float) - clean[:2]).mean() for frames in (noisy, made)]
    assert made.shape == noisy[:2].shape and error[1] < 0.6 * error[0]


def boxed(top: int, bottom: int, left: int, right: int, level: int = 0) -> Frames:
    """A moving scene (180, 320) with bars of so many lines."""
    whole = texture(9, 360, 640)
    frames = np.stack([whole[i : 180 + i, 3 * i : 3 * i + 320] for i in range(24)])
    inner = np.full_like(frames, level)
    place = np.s_[:, top : 180 - bottom, left : 320 - right]
    inner[place] = frames[place]
    return inner


def content_of(path: Path, frames: Frames, quality: int = 20) -> framing.Box:
    path.write_bytes(video.encode(frames, 12, quality=quality, gop=4))
    return repair.content(path)


@pytest.mark.parametrize("level", [0, 8])
@pytest.mark.parametrize(
    ("top", "bottom", "left", "right"),
    [(22, 22, 0, 0), (0, 0, 40, 40), (30, 10, 0, 0), (20, 20, 32, 32), (6, 6, 0, 0), (0, 0, 0, 50)],
)
def test_bars_are_found_to_the_line(
    tmp_path: Path, top: int, bottom: int, left: int, right: int, level: int
) -> None:
    found = content_of(tmp_path / "film.mp4", boxed(top, bottom, left, right, level))
    lines = (180 * found[0], 180 - 180 * found[1], 320 * found[2], 320 - 320 * found[3])
    assert lines == pytest.approx((top, bottom, left, right), abs=1.01)
    for found_lines, bar in zip(lines, (top, bottom, left, right), strict=True):
        assert bar or found_lines == pytest.approx(0, abs=1e-9)


def test_bars_of_coarsely_coded_footage_are_found(tmp_path: Path) -> None:
    found = content_of(tmp_path / "film.mp4", boxed(24, 24, 0, 0), quality=38)
    assert found[2:] == (0, 1)
    assert (180 * found[0], 180 - 180 * found[1]) == pytest.approx((24, 24), abs=2.01)


def test_one_bar_of_a_pair_is_enough(tmp_path: Path) -> None:
    # The picture is dark but for a lamp where it meets the lower bar.
    frames = boxed(24, 24, 0, 0)
    frames[:, 130:156] //= 16
    frames[:, 140:156, 100:140] = 220
    found = content_of(tmp_path / "film.mp4", frames)
    assert (180 * found[0], 180 - 180 * found[1]) == pytest.approx((24, 24), abs=1.01)


def test_the_bars_of_real_footage(shared: Path) -> None:
    found = repair.content(shared / "footage/damaged/letterboxed.mp4")
    assert (480 * found[0], 480 * found[1]) == pytest.approx((60, 420), abs=2)
    assert found[2:] == (0, 1)


def test_real_footage_has_no_bars(shared: Path) -> None:
    for path in sorted((shared / "footage/real").iterdir()):
        assert repair.content(path) == framing.WHOLE, path.name


def test_lines_that_any_moment_shows_are_no_bars(tmp_path: Path) -> None:
    frames = boxed(30, 30, 0, 0)
    frames[12:] = boxed(0, 0, 0, 0)[12:]
    assert content_of(tmp_path / "film.mp4", frames) == framing.WHOLE


def with_noise(frames: Frames, sigma: float = 2) -> Frames:
    added = np.random.default_rng(0).normal(0, sigma, frames.shape)
    return (frames + added).clip(0, 255).astype(np.uint8)


def test_dark_scenes_without_bars_have_none(tmp_path: Path) -> None:
    lit = boxed(0, 0, 0, 0)
    y, x = np.mgrid[:180, :320]
    scenes = {}
    scenes["dim"] = lit // 12
    vignette = np.clip(1.6 - np.hypot((y - 90) / 90, (x - 160) / 160) * 1.3, 0, 1)
    scenes["vignette"] = (lit * vignette[..., None]).astype(np.uint8)
    # Houses of all heights beneath a black sky.
    roofs = 50 + np.random.default_rng(1).integers(0, 70, 20).repeat(16)
    scenes["night"] = np.where((y > roofs[x])[..., None], lit, np.uint8(6))
    # A singer in the light on a dark stage.
    stage = np.full_like(lit, 6)
    for index, picture in enumerate(stage):
        middle = (140 + 2 * index, 110)
        cv2.ellipse(picture, middle, (22, 60), 0, 0, 360, (210, 180, 160), -1)
    scenes["stage"] = stage
    scenes["black"] = np.zeros_like(lit)
    for name, frames in scenes.items():
        assert content_of(tmp_path / "film.mp4", with_noise(frames)) == framing.WHOLE, name


def test_the_bars_of_what_is_no_film(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(DataError, match="cannot be opened"):
        repair.content(tmp_path / "film.mp4")
