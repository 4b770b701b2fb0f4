from __future__ import annotations

import numpy as np
import pytest
import torch

from muybridge.core.clips import to_float
from muybridge.core.video import Frames
from muybridge.data.casting import row_at
from muybridge.data.stage import COLOURS, MOTIONS, Settings, coverage, render
from muybridge.evaluation.physics import MEASURES, applies, measures
from muybridge.evaluation.tracker import observe

FPS, COUNT = 8, 80
ALL = tuple(MOTIONS)
# What each measure reads on real clips, at most: median, and all but one in twenty.
ERRORS = {
    "gravity error": (0.02, 0.06),
    "slide unevenness": (0.01, 0.03),
    "momentum error": (0.06, 0.13),
    "circle spread": (0.015, 0.025),
    "circle unevenness": (0.004, 0.008),
    "growth unevenness": (0.03, 0.05),
    "spin unevenness": (0.01, 0.02),
    "emergence error": (0.06, 0.12),
    "size change": (0.03, 0.1),
}


@pytest.fixture(scope="module")
def full() -> list[Frames]:
    """At 24 frames a second."""
    return [render(Settings((64, 64), 24, 2.0, 8, ALL), index)[0] for index in range(COUNT)]


@pytest.fixture(scope="module")
def clips(full: list[Frames]) -> list[Frames]:
    return [clip[::3] for clip in full]


@pytest.fixture(scope="module")
def captions() -> list[str]:
    return [row_at(8, index, ALL)["caption"] for index in range(COUNT)]


@pytest.fixture(scope="module")
def real(clips: list[Frames], captions: list[str]) -> dict[str, np.ndarray]:
    return measures(clips, captions, FPS)


def of(motion: str) -> list[int]:
    return [index for index in range(COUNT) if row_at(8, index, ALL)["motion"] == motion]


def over(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    return found[name][np.isfinite(found[name])]


def test_each_is_measured_in_all_real_clips_of_its_motions_and_no_others(
    real: dict[str, np.ndarray], captions: list[str]
) -> None:
    assert real.keys() == MEASURES.keys()
    asked = applies(captions)
    for name, measure in MEASURES.items():
        known = sorted(index for motion in measure.motions for index in of(motion))
        assert np.flatnonzero(np.isfinite(real[name])).tolist() == known, name
        assert np.flatnonzero(asked[name]).tolist() == known


@pytest.mark.parametrize("name", ERRORS)
def test_real_clips_lie_at_the_laws(real: dict[str, np.ndarray], name: str) -> None:
    median, most = ERRORS[name]
    assert np.median(over(real, name)) < median
    assert np.quantile(over(real, name), 0.95) < most


def test_real_clips_keep_and_lose_what_they_must(real: dict[str, np.ndarray]) -> None:
    for name in ("emerges", "colour kept", "shape kept", "kept apart"):
        assert (over(real, name) == 1).all()
    for name in ("energy gain", "slide acceleration", "collision energy gain"):
        assert over(real, name).max() < 0
    assert over(real, "growth").min() > 0.2


def test_figures_are_near_the_truth(clips: list[Frames], real: dict[str, np.ndarray]) -> None:
    settings = Settings((64, 64), 8, 2.0, 8, ALL)
    for index in of("slide"):
        friction = render(settings, index)[1]["physics"]["friction"]
        assert real["slide acceleration"][index] == pytest.approx(-friction, abs=0.05)
    for index in of("bounce"):
        restitution = render(settings, index)[1]["physics"]["restitution"]
        assert real["energy gain"][index] == pytest.approx(restitution**2 - 1, abs=0.06)
    for index in of("collide"):
        restitution = render(settings, index)[1]["physics"]["restitution"]
        assert real["collision energy gain"][index] == pytest.approx(restitution**2 - 1, abs=0.12)


@pytest.mark.parametrize(
    "name", ["energy gain", "slide acceleration", "collision energy gain", "growth"]
)
def test_reversal_turns_the_sign(
    clips: list[Frames], captions: list[str], real: dict[str, np.ndarray], name: str
) -> None:
    asked = [index for motion in MEASURES[name].motions for index in of(motion)]
    back = measures([clips[i][::-1] for i in asked], [captions[i] for i in asked], FPS)
    assert over(back, name) == pytest.approx(-real[name][asked], abs=0.02)
    # Far more than chance: of each clip, and so of their mean.
    assert (np.sign(over(back, name)) == -np.sign(real[name][asked])).all()


@pytest.mark.parametrize(("speed", "error"), [(1.5, 1.25), (0.75, 0.4375), (0.5, 0.75)])
def test_another_speed_is_another_gravity(
    full: list[Frames], captions: list[str], speed: float, error: float
) -> None:
    asked = of("bounce")
    faster = [
        full[i][np.arange(0, 48, 3 * speed).round().astype(int).clip(max=47)][:16] for i in asked
    ]
    found = over(measures(faster, [captions[i] for i in asked], FPS), "gravity error")
    assert len(found) > len(asked) / 2
    assert np.median(found) == pytest.approx(error, abs=0.08)


@pytest.mark.parametrize(
    "name", ["slide unevenness", "circle unevenness", "growth unevenness", "spin unevenness"]
)
def test_a_halt_is_uneven(
    clips: list[Frames], captions: list[str], real: dict[str, np.ndarray], name: str
) -> None:
    asked = [index for motion in MEASURES[name].motions for index in of(motion)]
    halting = [clips[i][[0, 1, 2, 3, 4, 4, 4, 4, 8, 9, 10, 11, 12, 13, 14, 15]] for i in asked]
    found = over(measures(halting, [captions[i] for i in asked], FPS), name)
    assert len(found) == len(asked)
    assert np.median(found) > 2 * np.quantile(real[name][asked], 0.95)


def test_what_stands_still_breaks_no_law_but_is_not_measured(
    clips: list[Frames], captions: list[str]
) -> None:
    still = [np.repeat(clip[:1], 16, axis=0) for clip in clips[:40]]
    found = measures(still, captions[:40], FPS)
    for name in MEASURES:
        if name == "growth":
            assert over(found, name) == pytest.approx(0, abs=1e-9)
        elif name == "kept apart":
            assert (over(found, name) == 1).all()
        else:
            assert not len(over(found, name)), name


def test_a_course_that_is_hardly_seen_is_not_measured(
    clips: list[Frames], captions: list[str]
) -> None:
    for motion in ("bounce", "slide", "circle", "grow", "spin", "pair"):
        index = of(motion)[0]
        clip = clips[index].copy()
        clip[5:] = 128
        found = measures([clip], [captions[index]], FPS)
        assert all(np.isnan(values).all() for values in found.values())


def drawn(one: np.ndarray, other: np.ndarray) -> Frames:
    """A red square and a blue ball on grey, at x (16,) each; not drawn where it is NaN."""
    picture = np.full((16, 64, 64, 3), 120.0)
    for x, shape, colour in ((one, "square", "red"), (other, "ball", "blue")):
        path = np.stack([np.nan_to_num(x, nan=9), np.full(16, 0.75)], 1)
        cover = coverage(shape, path, 0.1, (64, 64))[..., None]
        picture = picture * (1 - cover) + np.array(COLOURS[colour]) * cover
    return picture.astype(np.uint8)


def collision(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    found = measures([drawn(one, other)], ["a red square hits a blue ball"], FPS)
    return {name: float(found[name][0]) for name in found}


def test_collisions_that_break_the_laws() -> None:
    times = np.arange(16) / FPS
    before, after = np.minimum(times - 0.95, 0), np.maximum(times - 0.95, 0)
    # The square weighs 4 / pi as much as the ball.
    mass = 4 / np.pi
    fair = collision(0.4 + 0.3 * before + 0.05 * after, 0.6 + (0.25 * mass) * after)
    assert fair["momentum error"] < 0.07 and fair["kept apart"] == 1
    assert fair["collision energy gain"] == pytest.approx(
        (0.25 * mass - 0.05) ** 2 / 0.09 - 1, abs=0.08
    )
    more = collision(0.4 + 0.2 * before + 0.1 * after, 0.6 + (0.25 * mass) * after)
    assert more["momentum error"] == pytest.approx(0.15 / 0.35, abs=0.06)
    assert more["collision energy gain"] > 0.1
    through = collision(0.2 + 0.3 * times, 0.7 - 0.2 * times)
    assert through["kept apart"] == 0
    gone = np.where(times > 1, np.nan, 0.6)
    assert collision(0.4 + 0.3 * before, gone)["kept apart"] == 0


@pytest.mark.filterwarnings("error")
def test_anything_may_come(captions: list[str], clips: list[Frames]) -> None:
    draw = np.random.default_rng(0)
    asked = [captions[of(motion)[0]] for motion in MOTIONS]
    shown = [clips[of(motion)[1]] for motion in MOTIONS]
    noise = [draw.integers(0, 256, (16, 64, 64, 3)).astype(np.uint8) for _ in MOTIONS]
    some = [noise, [np.full_like(noise[0], 128)] * 8, shown[1:] + shown[:1]]
    some += [[clip[:count] for clip in shown] for count in (1, 2, 3, 5)]
    for clip in some:
        for values in measures(clip, asked, FPS).values():
            assert len(values) == 8 and not np.isinf(values).any()


def test_a_caption_of_another_kind_has_no_law(clips: list[Frames]) -> None:
    found = measures(clips[:2], ["a dog", ""], FPS)
    assert all(np.isnan(values).all() for values in found.values())


def test_the_same_from_a_tensor_and_from_tracks(
    clips: list[Frames], captions: list[str], real: dict[str, np.ndarray]
) -> None:
    tensor = torch.from_numpy(to_float(np.stack(clips[:16])))
    for found in (
        measures(tensor, captions[:16], FPS),
        measures([], captions[:16], FPS, observe(clips[:16], FPS)),
    ):
        for name in MEASURES:
            np.testing.assert_array_equal(found[name], real[name][:16])


def test_the_rate_of_frames_matters_little(full: list[Frames], captions: list[str]) -> None:
    asked = [of(motion)[0] for motion in MOTIONS]
    found = measures([full[i] for i in asked], [captions[i] for i in asked], 24)
    assert over(found, "gravity error").max() < 0.03
    assert over(found, "momentum error").max() < 0.1
    assert over(found, "energy gain").max() < 0 and over(found, "slide acceleration").max() < 0
    assert over(found, "emerges").tolist() == [1]
