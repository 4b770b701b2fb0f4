from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core import decoding, video
from muybridge.core.errors import RecipeError
from muybridge.core.video import Frames
from muybridge.data import quality
from muybridge.data.quality import Figures, Floats, Limits

THUMB = (36, 64)


def black(thumbs: Frames) -> npt.NDArray[np.bool_]:
    return quality.black(quality.luma_of(thumbs))


def figures(thumbs: Frames, times: Any, sampled: Any) -> quality.Figures:
    return quality.figures(thumbs, quality.luma_of(thumbs), times, sampled)


def leaves(seed: int, height: int = 270, width: int = 480) -> Floats:
    """Discs of all sizes on one another, grey levels 50 to 200: edges, flat places and statistics
    of natural pictures (Lee, Mumford & Huang 2001)."""
    draw = np.random.default_rng(seed)
    picture = np.full((height, width), 120, np.float32)
    radii = np.sort(np.minimum(3 / np.sqrt(draw.uniform(0.0008, 1, 2500)), 90))[::-1]
    for radius in radii:
        middle = (int(draw.integers(0, width)), int(draw.integers(0, height)))
        cv2.circle(picture, middle, max(1, int(radius)), float(draw.uniform(50, 200)), -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.9), np.float64)


def levels(picture: Floats) -> Frames:
    return picture.clip(0, 255).round().astype(np.uint8)


def noise_of(picture: Frames) -> float:
    return quality.of_picture(picture)[1]


def sharpness_of(picture: Frames) -> float:
    return quality.of_picture(picture)[0]


@pytest.mark.parametrize("sigma", [3, 5, 8, 12, 20])
@pytest.mark.parametrize("seed", range(3))
def test_noise_is_what_was_added(sigma: float, seed: int) -> None:
    clean = leaves(seed)
    added = np.random.default_rng(99 + seed).normal(0, sigma, clean.shape)
    assert noise_of(levels(clean + added)) == pytest.approx(sigma, rel=0.2)
    assert noise_of(levels(clean)) < 1.5


@pytest.mark.parametrize("sigma", [4, 20])
def test_noise_of_real_footage_is_what_was_added(shared: Path, sigma: float) -> None:
    for name in ("bikes.mp4", "asl_bird.mkv", "cockatoo.mp4", "bigbuckbunny.mp4"):
        frame = next(decoding.frames(shared / "footage/real" / name))
        height, width = frame.size
        scale = min(1, 360 / height)
        luma = frame.picture((round(scale * height), round(scale * width)), grey=True)
        added = np.random.default_rng(0).normal(0, sigma, luma.shape)
        assert noise_of(levels(luma + added)) == pytest.approx(sigma, rel=0.2)
        assert noise_of(luma) < 2


def test_texture_is_not_taken_for_noise() -> None:
    # A fine weave over a quarter of the picture.
    woven, (y, x) = leaves(0), np.mgrid[:270, :120]
    woven[:, :120] = 120 + 60 * np.sin(2.1 * x) * np.sin(1.7 * y)
    assert noise_of(levels(woven)) < 2
    assert sharpness_of(levels(woven)) > 5 * sharpness_of(levels(leaves(0)))


def test_sharpness_falls_with_blur() -> None:
    for seed in range(3):
        clean = leaves(seed)
        found = [sharpness_of(levels(clean))]
        for sigma in (0.7, 1, 1.5, 2, 3, 4, 6):
            found.append(sharpness_of(levels(cv2.GaussianBlur(clean, (0, 0), sigma))))
        assert found == sorted(found, reverse=True) and found[-1] < 0.02 * found[0]


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    padded = np.pad(luma.astype(float), 1, mode="reflect")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    assert sharpness_of(luma) == pytest.approx((around - 4.0 * luma).var(), rel=1e-4)


def test_shares_of_dark_light_and_flat() -> None:
    luma = levels(np.full((80, 160), 128.0))
    assert quality.of_picture(luma)[2:] == (0, 0, 1)
    luma[:, :40], luma[:, 40:60] = 3, 252
    _, _, dark, light, flat = quality.of_picture(luma)
    assert (dark, light) == (0.25, 0.125)
    luma[:, 80:] = np.random.default_rng(0).integers(100, 160, (80, 80))
    assert quality.of_picture(luma)[4] == pytest.approx(0.5, abs=0.1) and flat > 0.9


def thumbs_of(path: Path, count: int = 10_000) -> tuple[Frames, Floats]:
    thumbs, times = [], []
    for frame in decoding.frames(path):
        thumbs.append(frame.picture(THUMB))
        times.append(frame.seconds)
        if len(times) == count:
            break
    return np.stack(thumbs), np.array(times)


def small(frames: Frames) -> Frames:
    return np.stack([cv2.resize(f, THUMB[::-1], interpolation=cv2.INTER_AREA) for f in frames])


def test_black_pictures(shared: Path) -> None:
    thumbs, _ = thumbs_of(shared / "footage/damaged/black_frames.mp4")
    assert np.flatnonzero(black(thumbs)).tolist() == list(range(20, 28))
    night = np.full((1, *THUMB, 3), 4, np.uint8)
    assert black(night).all()
    night[0, 10:12, 20:22] = 200  # a lamp
    assert not black(night).any()
    # A dim scene has shapes.
    dim = levels(leaves(0, *THUMB) / 10)
    assert not black(np.repeat(dim[None, ..., None], 3, -1)).any()


def test_no_pictures_are_none_repeated() -> None:
    for count in (0, 1, 2, 5):
        noise = np.random.default_rng(0).integers(0, 256, (count, *THUMB, 3), np.uint8)
        assert quality.repeats(noise).tolist() == [False] * count
        assert black(noise).tolist() == [False] * count


def panned(
    count: int, speed: float, seed: int = 0, angle: float = 0.0, height: int = 90, width: int = 160
) -> Frames:
    """A picture that moves `speed` of its widths each frame, with a little noise."""
    whole = leaves(seed, 5 * height, 5 * width).astype(np.float32)
    draw = np.random.default_rng(seed)
    made = []
    for index in range(count):
        far = speed * width * index
        y, x = 40 + far * np.sin(angle), 40 + far * np.cos(angle)
        shift = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
        cut = cv2.warpAffine(whole, shift, (width, height)) + draw.normal(0, 1.5, (height, width))
        made.append(levels(np.asarray(cut, np.float64)))
    return np.repeat(np.stack(made)[..., None], 3, -1)


@pytest.mark.parametrize("crf", ["12", "18", "23", "28"])
@pytest.mark.parametrize("times", [2, 3])
def test_repeated_frames_are_found_also_when_re_encoded(
    tmp_path: Path, crf: str, times: int
) -> None:
    frames = panned(20, 0.01, height=180, width=320).repeat(times, 0)
    (tmp_path / "film.mp4").write_bytes(video.encode(frames, 24, quality=int(crf)))
    found = quality.repeats(thumbs_of(tmp_path / "film.mp4")[0])
    truth = np.arange(len(frames)) % times > 0
    assert not found[~truth].any()
    assert found[truth].mean() > 0.9


def test_a_frame_is_held_amid_motion() -> None:
    frames = panned(40, 0.01)
    frames[20:26] = frames[20]
    found = quality.repeats(small(frames))
    assert np.flatnonzero(found).tolist() == list(range(21, 26))


def test_slow_motion_that_halts_and_a_still_scene_after_a_cut_are_not_repeated() -> None:
    draw = np.random.default_rng(1)
    moving, still = panned(20, 0.02, 1), panned(20, 0, 2)
    assert not quality.repeats(small(np.concatenate([moving, still, moving]))).any()
    # From a pan to a standstill, little by little.
    whole = leaves(3, 200, 800).astype(np.float32)
    at = np.cumsum(np.concatenate([np.linspace(8, 0, 30), np.zeros(20)]))
    frames = [cv2.warpAffine(whole, np.array([[1, 0, -x], [0, 1, -20]], np.float32), (320, 180))
              + draw.normal(0, 3, (180, 320)) for x in at]  # fmt: skip
    luma = np.stack([levels(np.asarray(f, np.float64)) for f in frames])
    assert not quality.repeats(small(np.repeat(luma[..., None], 3, -1))).any()


def test_repeats_of_real_footage(shared: Path) -> None:
    # A camera before an almost still scene.
    thumbs, _ = thumbs_of(shared / "footage/real/bottles.mp4", 600)
    assert quality.repeats(thumbs).mean() < 0.05
    assert quality.repeats(thumbs_of(shared / "footage/damaged/static.mp4")[0])[1:].all()
    # Twelve and a half pictures a second, each shown twice, but for a few that are shown once.
    on_twos = quality.repeats(thumbs_of(shared / "footage/real/test.avi")[0])
    assert 0.45 < on_twos.mean() < 0.55
    doubled = quality.repeats(thumbs_of(shared / "footage/damaged/sixty_fps.mp4")[0])
    assert doubled[1::2].mean() > 0.95, "every second frame is the one before"
    assert doubled[::2].mean() < 0.2  # some were so before they were doubled


def figures_of(thumbs: Frames, fps: float) -> Figures:
    return figures(thumbs, np.arange(len(thumbs)) / fps, np.zeros((0, 5)))


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 0.6])
@pytest.mark.parametrize(("speed", "fps"), [(0.1, 24), (0.4, 24), (1.0, 24), (0.4, 60), (0.4, 10)])
def test_the_camera_s_speed(speed: float, fps: float, angle: float) -> None:
    thumbs = small(panned(int(1.2 * fps), speed / fps, 5, angle))
    assert figures_of(thumbs, fps)["camera"] == pytest.approx(speed, rel=0.15)


def test_what_moves_before_a_still_camera_is_not_the_camera() -> None:
    frames = panned(24, 0)
    for index, frame in enumerate(frames):
        frame[30:60, 3 * index : 3 * index + 30] = 230
    found = figures_of(small(frames), 24)
    assert found["camera"] < 0.05 and found["motion"] > 1


@pytest.mark.parametrize("fps", [8, 24, 60])
def test_motion_is_per_time_and_none_in_a_held_picture(fps: float) -> None:
    held = np.repeat(small(panned(1, 0)), 20, 0)
    assert figures_of(held, fps)["motion"] == 0
    assert figures_of(held, fps)["camera"] == pytest.approx(0, abs=1e-3)
    # A picture that brightens by 48 grey levels a second: 2 in 1/24 s.
    ramp = np.stack([np.full((*THUMB, 3), 20 + round(48 * i / fps), np.uint8) for i in range(20)])
    assert figures_of(ramp, fps)["motion"] == pytest.approx(2, rel=0.06)


def test_one_frame_alone_has_figures() -> None:
    found = figures_of(small(panned(1, 0)), 24)
    assert found["motion"] == found["camera"] == 0
    assert 0 < found["brightness"] < 1


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_brightness_saturation_and_colour_of_one_colour(colour: tuple[int, int, int]) -> None:
    thumbs = np.broadcast_to(np.array(colour, np.uint8), (3, *THUMB, 3))
    found = figures_of(thumbs, 24)
    red, green, blue = colour
    luma = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    assert found["brightness"] == pytest.approx(luma, abs=1e-6)
    assert found["contrast"] == pytest.approx(0, abs=1e-6)
    expected = (max(colour) - min(colour)) / max(max(colour), 1)
    assert found["saturation"] == pytest.approx(expected)
    assert found["colour"] == pytest.approx([c / 255 for c in colour], abs=1e-4)


def test_sampled_figures_are_the_usual_ones() -> None:
    thumbs = small(panned(4, 0.01))
    sampled = np.array([[10, 1, 0.1, 0, 0], [20, 2, 0.2, 0, 0], [900, 90, 0.3, 1, 1.0]])
    found = figures(thumbs, np.arange(4) / 24, sampled)
    names = ("sharpness", "noise", "dark", "light", "flat")
    assert [found[name] for name in names] == [20, 2, 0.2, 0, 0]


GOOD: Figures = {"brightness": 0.4, "motion": 2.0, "noise": 1.0, "sharpness": 100.0}


@pytest.mark.parametrize(
    ("word", "setting", "name", "bad"),
    [
        ("underexposed", "min_brightness", "brightness", 0.02),
        ("overexposed", "max_brightness", "brightness", 0.99),
        ("static", "min_motion", "motion", 0.01),
        ("noisy", "max_noise", "noise", 30.0),
        ("blurred", "min_sharpness", "sharpness", 3.0),
        ("out of order", "max_disorder", "disorder", 0.6),
    ],
)
def test_a_verdict_names_the_word_the_figure_and_the_setting(
    word: str, setting: str, name: str, bad: float
) -> None:
    limits = Limits()
    assert quality.verdict(GOOD, 0.0, limits) == ""
    figures = GOOD | {name: bad}
    disorder = bad if name == "disorder" else 0.0
    reason = quality.verdict(figures, disorder, limits)
    assert reason.startswith(f"{word}: ")
    assert f"{bad:.3g}" in reason
    assert f"prepare.{setting} = {getattr(limits, setting):g}" in reason
    # The setting that is named is the one that lets it through.
    assert quality.verdict(figures, disorder, limits.with_values(**{setting: bad})) == ""


def test_limits_cannot_be_negative() -> None:
    with pytest.raises(RecipeError, match="min_sharpness"):
        Limits().with_values(min_sharpness=-1)


def judged(path: Path, count: int = 30) -> str:
    thumbs, times, sampled = [], [], []
    for frame in decoding.frames(path):
        if len(times) % 10 == 0:
            height, width = frame.size
            scale = min(1.0, 360 / min(height, width))
            luma = frame.picture((round(scale * height), round(scale * width)), grey=True)
            sampled.append(quality.of_picture(luma))
        thumbs.append(frame.picture(THUMB))
        times.append(frame.seconds)
        if len(times) == count:
            break
    found = figures(np.stack(thumbs), np.array(times), np.array(sampled))
    return quality.verdict(found, 0.0, Limits())


def test_the_limits_keep_real_footage(shared: Path) -> None:
    kept = 0
    for path in sorted((shared / "footage/real").iterdir()):
        if (decoding.probe(path).seconds or 2) >= 1 and path.name != "corrupted.mp4":
            assert judged(path) == "", path.name
            kept += 1
    assert kept >= 20


@pytest.mark.parametrize("word", ["blurred", "noisy", "static"])
def test_the_limits_set_aside_what_is_bad(shared: Path, word: str) -> None:
    assert judged(shared / f"footage/damaged/{word}.mp4").startswith(f"{word}: ")
