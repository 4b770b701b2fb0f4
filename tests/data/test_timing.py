from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from muybridge.data import timing
from muybridge.data.store import INTERPOLATED, REAL, REPEATED
from muybridge.data.timing import Floats, Grid

RATES = st.sampled_from([8.0, 12.5, 15.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60.0])


def shown(grid: Grid) -> Floats:
    """The place that each moment shows: whole for a frame as it is, between two for one made up."""
    return grid.before + grid.share * (grid.after - grid.before)


def moments(grid: Grid, times: Floats, fps: float) -> Floats:
    return times[0] + np.arange(len(grid.kinds)) / fps


@st.composite
def footage(draw: st.DrawFn) -> Floats:
    """Times of frames at some rate, shaken by up to a fifth of a period, some of them missing."""
    rate = draw(RATES)
    count = draw(st.integers(2, 90))
    keep = np.array(draw(st.lists(st.sampled_from([True] * 9 + [False]),
                                  min_size=count, max_size=count)))  # fmt: skip
    shake = draw(st.sampled_from([0.0, 0.02, 0.2]))
    seed = draw(st.integers(0, 1000))
    jitter = np.random.default_rng(seed).uniform(-shake, shake, count)
    times = (np.arange(count) + jitter) / rate
    assume(keep.sum() > 1)
    return np.asarray(times[keep] + draw(st.sampled_from([0.0, 3.7])))


@given(footage(), RATES)
def test_each_moment_has_a_frame_near_it_or_one_made_up_of_both_sides(
    times: Floats, fps: float
) -> None:
    grid = timing.align(times, fps)
    at = moments(grid, times, fps)
    near = max(timing.period(times), 1 / fps) / 2
    for moment, before, after, share, kind in zip(
        at, grid.before, grid.after, grid.share, grid.kinds, strict=True
    ):
        away = np.abs(times - moment)
        if kind == INTERPOLATED:
            assert 0 < share < 1 and after == before + 1
            assert times[before] < moment < times[after]
            assert times[before] * (1 - share) + times[after] * share == pytest.approx(moment)
            assert away.min() > near
        else:
            assert share == 0
            assert abs(times[before] - moment) <= away.min() + 1e-8
            # Time that shaken frames leave between them is not a hole.
            assert away.min() <= near + 1e-5 or times[after] - times[before] <= 1.5 * 2 * near


@given(footage(), RATES, st.booleans())
def test_each_frame_is_real_once_where_it_is_nearest(
    times: Floats, fps: float, invent: bool
) -> None:
    grid = timing.align(times, fps, invent)
    at = moments(grid, times, fps)
    users: dict[int, list[int]] = {}
    for index, (place, kind) in enumerate(zip(grid.before.tolist(), grid.kinds, strict=True)):
        if kind != INTERPOLATED:
            users.setdefault(place, []).append(index)
    for place, those in users.items():
        real = [index for index in those if grid.kinds[index] == REAL]
        assert len(real) == 1
        assert abs(at[real[0]] - times[place]) <= min(abs(at[those] - times[place])) + 1e-9
        assert {int(grid.kinds[i]) for i in those} <= {REAL, REPEATED}
    # Time never runs back.
    assert (np.diff(shown(grid)) >= 0).all()


@given(footage(), RATES)
def test_the_moments_cover_the_footage_and_no_more(times: Floats, fps: float) -> None:
    grid = timing.align(times, fps)
    end = len(grid.kinds) / fps
    length = times[-1] - times[0]
    assert length - 0.5 / fps - 1e-6 <= end - 0.5 / fps  # the last frame is within the last moment
    assert end - 1 / fps < length + timing.period(times) / 2
    assert grid.before.min() == 0
    assert {g.shape for g in (grid.before, grid.after, grid.share, grid.kinds)} == {
        grid.kinds.shape
    }


@given(RATES, st.integers(1, 200), st.floats(0, 1000))
def test_its_own_rate_gives_each_frame_once(fps: float, count: int, start: float) -> None:
    grid = timing.align(start + np.arange(count) / fps, fps)
    if count == 1 and fps > 25:
        return  # the length of one frame alone is taken to be 1/25
    assert grid.before.tolist() == list(range(count))
    assert set(grid.kinds.tolist()) == {REAL} and not grid.share.any()


def test_times_that_a_file_rounds_are_its_own_rate_all_the_same() -> None:
    # Matroska's milliseconds, and 23.976 for 24 within a second.
    for rate in (24, 25, 30, 60):
        times = np.round(np.arange(300) / rate, 3)
        grid = timing.align(times, rate)
        assert grid.before.tolist() == list(range(300)) and not grid.kinds.any()


@given(
    st.sampled_from([24.0, 25.0, 30.0]), st.integers(3, 30), st.integers(1, 12), st.integers(3, 30)
)
@example(25.0, 40, 12, 48)
def test_in_a_hole_pictures_are_made_up_and_true_time_follows(
    rate: float, head: int, missing: int, tail: int
) -> None:
    assume(head + tail > 8)
    whole = np.arange(head + missing + tail)
    kept = np.concatenate([whole[:head], whole[head + missing :]])
    grid = timing.align(kept / rate, rate)
    assert len(grid.kinds) == len(whole)
    made = [head <= index < head + missing for index in whole]
    assert (grid.kinds == INTERPOLATED).tolist() == made
    for index, bad in zip(whole, made, strict=True):
        if bad:
            assert (grid.before[index], grid.after[index]) == (head - 1, head)
            assert grid.share[index] == pytest.approx((index - head + 1) / (missing + 1))
        else:
            assert kept[grid.before[index]] == index, "off by one"
            assert grid.kinds[index] == REAL


@pytest.mark.parametrize(
    ("source", "fps", "real", "repeated"),
    [
        (25, 24, 240, 0),
        (30, 24, 240, 0),
        (60, 24, 240, 0),
        (50, 24, 240, 0),
        (24000 / 1001, 24, 240, 0),
        (30000 / 1001, 30, 300, 0),
        (8, 24, 80, 160),
        (12, 24, 120, 120),
        (20, 24, 200, 40),
        (15, 60, 150, 450),
    ],
)
@pytest.mark.parametrize("shaken", [0, 0.08])
def test_ten_seconds_up_and_down(
    source: float, fps: float, real: int, repeated: int, shaken: float
) -> None:
    count = round(10 * source)
    jitter = np.random.default_rng(0).uniform(-shaken, shaken, count)
    jitter[0] = 0
    grid = timing.align((np.arange(count) + jitter) / source, fps)
    kinds = np.bincount(grid.kinds, minlength=3)
    # 1 in 1001 frames more or less is one; a shaken frame may lose its moment to a neighbour.
    slack = 1 if shaken == 0 else max(2, 0.05 * len(grid.kinds))
    assert len(grid.kinds) == pytest.approx(10 * fps, abs=max(1, fps / source))
    assert kinds[REAL] == pytest.approx(real, abs=slack)
    assert kinds[REPEATED] == pytest.approx(repeated, abs=slack + fps / source)
    assert kinds[INTERPOLATED] == 0


@given(st.sampled_from([6.0, 8.0, 10.0, 12.0, 15.0]), st.integers(2, 40))
def test_on_request_slow_footage_is_filled_in(source: float, count: int) -> None:
    times = np.arange(count) / source
    grid = timing.align(times, 24, invent=True)
    at = moments(grid, times, 24)
    inside = at <= times[-1] + 1e-9
    made_for = np.interp(at, times, np.arange(count))
    for index in np.flatnonzero(inside):
        if grid.kinds[index] == INTERPOLATED:
            assert shown(grid)[index] == pytest.approx(made_for[index], abs=1e-6)
    assert not (grid.kinds[inside] == REPEATED).any()
    assert (grid.kinds == REAL).sum() == count
    plain = timing.align(times, 24)
    assert len(plain.kinds) == len(grid.kinds) and not (plain.kinds == INTERPOLATED).any()


def test_one_frame_alone() -> None:
    grid = timing.align(np.array([5.0]), 24)
    assert grid.kinds.tolist() == [REAL] and grid.before.tolist() == [0]
    assert timing.period(np.array([5.0])) == 1 / 25


@given(st.data(), footage(), st.floats(0, 0.5))
def test_a_run_straddles_no_cut_and_no_long_hole(
    data: st.DataObject, times: Floats, max_gap: float
) -> None:
    usable = np.array([data.draw(st.sampled_from([True, True, True, False])) for _ in times])
    cuts = data.draw(st.lists(st.integers(0, len(times) - 1), max_size=4))
    runs = timing.segments(times, usable, cuts, max_gap)
    assert np.concatenate([*runs, np.zeros(0, int)]).tolist() == np.flatnonzero(usable).tolist()
    if not usable.any():
        assert runs == []
        return
    usual = timing.period(times[usable])

    def apart(a: int, b: int) -> bool:
        shot = any(a < cut <= b for cut in cuts)
        return shot or times[b] - times[a] - usual > max_gap + 1e-5

    for run in runs:
        assert len(run)
        assert not any(apart(a, b) for a, b in itertools.pairwise(run.tolist()))
    # And nothing else ends a run.
    for run, following in itertools.pairwise(runs):
        gap = times[following[0]] - times[run[-1]] - usual
        assert apart(run[-1], following[0]) or gap > max_gap - 1e-5


def test_a_hole_is_repaired_up_to_its_limit() -> None:
    whole = np.arange(50)
    for missing in range(1, 12):
        usable = (whole < 20) | (whole >= 20 + missing)
        runs = timing.segments(whole / 24, usable, [], 6 / 24)
        assert len(runs) == (1 if missing <= 6 else 2)
    assert [r.tolist() for r in timing.segments(whole / 24, whole < 99, [7, 30], 0.25)] == [
        list(range(7)), list(range(7, 30)), list(range(30, 50)),
    ]  # fmt: skip


@given(footage(), st.floats(0.3, 5))
def test_pieces_cover_a_run_and_are_short_enough(times: Floats, longest: float) -> None:
    run = np.arange(len(times))[len(times) // 5 :]
    assume(longest > 3 * np.diff(times).max(initial=0))
    usual = timing.period(times[run])
    parts = timing.pieces(times, run, longest)
    assert np.concatenate(parts).tolist() == run.tolist()
    lengths = [times[part[-1]] - times[part[0]] + usual for part in parts]
    assert max(lengths) <= 1.02 * longest + usual
    total = times[run[-1]] - times[run[0]] + usual
    assert len(parts) == max(1, np.ceil(total / longest - 0.02))


def test_pieces_of_even_footage_are_equal_and_not_longer_than_allowed() -> None:
    times = np.arange(25 * 60) / 25
    for longest in (2.0, 7.0, 10.0, 59.5, 60.0, 61.0):
        parts = timing.pieces(times, np.arange(len(times)), longest)
        sizes = [len(part) for part in parts]
        assert max(sizes) / 25 <= longest * 1.02
        assert max(sizes) - min(sizes) <= 1
        assert len(parts) == (1 if longest * 1.02 >= 60 else int(np.ceil(60 / longest)))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1), st.integers(1, 9)
)
def test_spans_touch_and_cover(frames: list[tuple[str, int]], last: int) -> None:
    names = [name for name, _ in frames]
    times = np.cumsum([0, *(gap for _, gap in frames[1:])]).astype(float)
    end = float(times[-1] + last)
    found = timing.spans(times, names, end)
    assert found[0][0] == times[0] and found[-1][1] == end
    for (_, before, name), (after, _, following) in itertools.pairwise(found):
        assert before == after and name != following
    for time, name in zip(times, names, strict=True):
        assert [n for start, stop, n in found if start <= time < stop] == [name]
    owned: dict[str, float] = dict.fromkeys("abc", 0.0)
    lasting: npt.NDArray[np.float64] = np.diff([*times, end])
    for name, seconds in zip(names, lasting, strict=True):
        owned[name] += float(seconds)
    for name in "abc":
        assert sum(e - s for s, e, n in found if n == name) == pytest.approx(owned[name])
