"""How clips go on in time: what flow leaves unexplained, uneven motion, flicker, drift, cuts, freezes.

Each measure is a function of clips, (n, time, 3, height, width) in [-1, 1], and gives one number a
clip, float64 (n,). Those of flow take a `Motion` in its place, so that the flow of some clips is
found once; `measure` does that for all, chunk by chunk. Brightness is in [0, 1].

None of them is good by being low: still pictures win most. They stand beside the amount of motion,
and are to be near real footage's own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .flow import Motion, Real, motion, warped

Array = npt.NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])
# Mean absolute difference in brightness of frames that are one picture: a quarter of a grey level.
REPEATED = 0.25 / 255
# Pixels of flow, frame to frame, below which nothing moves.
STILL = 0.01
# Cells a side in which flicker is looked for.
CELLS = 4
# A cut: less than this share of what is usually seen again from frame to frame, and this many times
# the usual difference after motion and change of light are taken away.
SEEN, UNLIKE = 0.5, 1.4
_CHUNK = 2**20  # pixels, of all frames, whose flow is held at once


def measure(clips: Tensor, fps: float) -> dict[str, Array]:
    """All measures of this file, by name, each (n,).

    Args:
        clips: (n, time, 3, height, width) in [-1, 1], three frames of 16 x 16 pixels or more.
        fps: frames per second.

    Raises:
        ValueError: other shapes, values that are not finite, or fps that is not above 0.
    """
    parts = []
    size = max(1, _CHUNK // clips[0, :, 0].numel())
    for chunk in clips.split(size):
        found = motion(chunk)
        made: dict[str, Array] = {
            "warping_error": warping_error(found),
            "seen": seen(found),
            "unevenness": unevenness(found),
            "flicker": flicker(found),
            "motion_amount": motion_amount(found, fps),
            "luma_change": luma_change(chunk),
            "jump_cuts": jump_cuts(found),
            "freeze": freeze(chunk),
            "disorder": disorder(chunk),
        }
        drifts = drift_parts(chunk, fps)
        made["drift"] = _drift(drifts)
        made |= {f"drift_{name}": values for name, values in drifts.items()}
        parts.append(made)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


# --- by flow -------------------------------------------------------------------------------------


def warping_error(clips: Tensor | Motion) -> Array:
    """How unlike each frame is to the next one brought back by the flow, brightness, 0 to 1.

    Root of the mean square of I(t+1, p + f(p)) - I(t, p), over colours, frames and the pixels that
    are seen in both (Lai et al. 2018, eq. 11, which leaves out the root). NaN for a clip in which
    no pixel is seen twice; look at `seen` beside it, for what is not seen is not judged.
    """
    found = _motion(clips)
    table = np.full(len(found.frames), np.nan)
    for k, frames in enumerate(found.frames):
        total, count = 0.0, 0
        for i, flow in enumerate(found.forward[k]):
            gap = (warped(frames[i + 1], flow) - frames[i])[found.ahead[k, i]]
            total += float(np.square(gap, dtype=np.float64).sum())
            count += gap.size
        if count:
            table[k] = np.sqrt(total / count)
    return table


def seen(clips: Tensor | Motion) -> Array:
    """Share of pixels that are seen again in the next frame, by the occlusion test of `motion`."""
    found = _motion(clips)
    return np.asarray(found.ahead.mean((1, 2, 3), dtype=np.float64))


def unevenness(clips: Tensor | Motion) -> Array:
    """How unevenly things move, 0 to 1.

    The change of flow from frame to frame along each path, over the length of both flows,
    sum |g - f| / sum (|f| + |g|), where the path is seen throughout: 0 where all goes on as before,
    1 where every motion stops, begins or turns back. 0 where nothing moves.

    Raises:
        ValueError: fewer than three frames.
    """
    found = _motion(clips)
    _frames(found.forward.shape[1] + 1, 3)
    table = np.zeros(len(found.frames))
    for k, flows in enumerate(found.forward):
        change, length, count = 0.0, 0.0, 0
        for i in range(len(flows) - 1):
            went, goes = flows[i], warped(flows[i + 1], flows[i])
            both = found.ahead[k, i] & (warped(found.ahead[k, i + 1] * ONE, flows[i]) == 1)
            change += float(_lengths(goes - went)[both].sum())
            length += float((_lengths(goes) + _lengths(went))[both].sum())
            count += 2 * int(both.sum())
        if length > STILL * count:
            table[k] = change / length
    return table


def flicker(clips: Tensor | Motion) -> Array:
    """Brightness and colour that come and go, as the amplitude of an alternation, 0 to 1.

    A quarter of the second difference I(t-1) - 2 I(t) + I(t+1) along each path that is seen in all
    three frames, mean over each of 4 x 4 cells, then root mean square over cells, frames and
    colours. Steady motion and steady fades have none, a sum of noise over a cell little.

    Raises:
        ValueError: fewer than three frames.
    """
    found = _motion(clips)
    count, time = found.frames.shape[:2]
    _frames(time, 3)
    table = np.zeros(count)
    for k, frames in enumerate(found.frames):
        squares = []
        for i in range(1, time - 1):
            after = warped(frames[i + 1], found.forward[k, i])
            before = warped(frames[i - 1], found.backward[k, i - 1])
            both = found.ahead[k, i] & found.behind[k, i - 1]
            bend = np.where(both[..., None], (before - 2 * frames[i] + after) / 4, 0)
            held = _cells(both[..., None].astype(np.float64))
            # A cell of which little is seen says little.
            squares.append(
                _cells(bend.astype(np.float64)) ** 2 / np.maximum(held, 1e-9) ** 2 * (held > 0.25)
            )
        table[k] = np.sqrt(np.mean(squares))
    return table


def motion_amount(clips: Tensor | Motion, fps: float) -> Array:
    """Mean length of the flow where it can be trusted, picture heights a second.

    Raises:
        ValueError: fps that is not above 0.
    """
    _rate(fps)
    found = _motion(clips)
    height = found.frames.shape[2]
    lengths = np.where(found.ahead, _lengths(found.forward), 0).sum((1, 2, 3), dtype=np.float64)
    return lengths / np.maximum(found.ahead.sum((1, 2, 3)), 1) * fps / height


def jump_cuts(clips: Tensor | Motion) -> Array:
    """How many cuts a clip has.

    From a frame to the next, less than half of what is usual in the clip is seen again, and what
    flow and a change of light leave unexplained is 1.4 times the usual; also where the scene stays
    and only its people are others. `data.shots` finds shots of footage, and wants another scene.
    """
    found = _motion(clips)
    table = np.zeros(len(found.frames))
    for k, frames in enumerate(found.frames):
        share = (found.ahead[k].mean((1, 2)) + found.behind[k].mean((1, 2))) / 2
        left = np.array(
            [
                (
                    _left(frames[i], frames[i + 1], found.forward[k, i])
                    + _left(frames[i + 1], frames[i], found.backward[k, i])
                )
                / 2
                for i in range(len(share))
            ]
        )
        few = share < SEEN * np.median(share)
        table[k] = (few & (left > UNLIKE * np.median(left)) & (left > REPEATED)).sum()
    return table


# --- by pixels alone -----------------------------------------------------------------------------


def luma_change(clips: Tensor) -> Array:
    """Mean absolute change of luma from frame to frame, 0 to 1."""
    return np.asarray(np.abs(np.diff(_luma(clips), axis=1)).mean((1, 2, 3)))


def freeze(clips: Tensor) -> Array:
    """Share of frames that repeat the one before: mean difference under a quarter grey level."""
    _frames(clips.shape[1], 2)
    apart = clips.double().diff(dim=1).abs().mean((2, 3, 4)) / 2
    return np.asarray((apart < REPEATED).double().mean(1).numpy())


def disorder(clips: Tensor) -> Array:
    """Share of places where two neighbours in each other's place would move more smoothly."""
    y = _luma(clips)
    one, two = (np.abs(y[:, gap:] - y[:, :-gap]).mean((2, 3)) for gap in (1, 2))
    as_is, swapped = one[:, :-2] + one[:, 2:], two[:, :-1] + two[:, 1:]
    moving = as_is + swapped > 4 / 255
    return np.asarray(
        ((swapped < 0.9 * as_is) & moving).sum(1) / np.maximum(moving.sum(1), 1), np.float64
    )


def drift(clips: Tensor, fps: float) -> Array:
    """How far the last second's look is from the first's, see `drift_parts`.

    Root mean square of the parts. Of clips shorter than two seconds the first and the last quarter.
    """
    return _drift(drift_parts(clips, fps))


def drift_parts(clips: Tensor, fps: float) -> dict[str, Array]:
    """What changes from the first to the last second, each (n,), 0 where nothing does.

    "colour": the distance of the mean colours over the first second's contrast. "contrast" and
    "sharpness": |log| of the ratio of the deviations of luma, and of the mean slopes of luma over
    its deviation. Of clips shorter than two seconds it is the first and the last quarter.

    Raises:
        ValueError: fewer than two frames, or fps that is not above 0.
    """
    _rate(fps)
    time = clips.shape[1]
    _frames(time, 2)
    span = round(fps) if time >= 2 * round(fps) else max(1, time // 4)
    first, last = clips[:, :span], clips[:, -span:]
    ends = []
    for end in (first, last):
        y = _luma(end)
        contrast = y.std((2, 3)).mean(1) + 1 / 255
        slope = np.abs(np.diff(y, axis=2)).mean((2, 3)) + np.abs(np.diff(y, axis=3)).mean((2, 3))
        colour = ((end.double().mean((1, 3, 4)) + 1) / 2).numpy()
        ends.append((colour, contrast, (slope.mean(1) + 1 / 255) / contrast))
    (c0, k0, s0), (c1, k1, s1) = ends
    return {
        "colour": np.linalg.norm(c1 - c0, axis=1) / k0,
        "contrast": np.abs(np.log(k1 / k0)),
        "sharpness": np.abs(np.log(s1 / s0)),
    }


def _drift(parts: dict[str, Array]) -> Array:
    return np.asarray(np.sqrt(np.mean([np.square(part) for part in parts.values()], axis=0)))


ONE = np.float32(1)


def _motion(clips: Tensor | Motion) -> Motion:
    return clips if isinstance(clips, Motion) else motion(clips)


def _lengths(flow: Real) -> Real:
    return np.asarray(np.hypot(flow[..., 0], flow[..., 1]))


def _left(frame: Real, other: Real, flow: Real) -> float:
    gap = warped(other, flow) - frame
    return float(np.abs(gap - np.median(gap, (0, 1))).mean())


def _cells(picture: Array) -> Array:
    """Means over CELLS x CELLS cells."""
    rows = [r.mean(0) for r in np.array_split(picture, CELLS, 0)]
    return np.stack([np.stack([c.mean(0) for c in np.array_split(r, CELLS, 0)]) for r in rows])


def _luma(clips: Tensor) -> Array:
    y = ((clips.double() + 1) / 2 * torch.from_numpy(LUMA).view(3, 1, 1)).sum(2)
    return y.cpu().numpy()


def _frames(time: int, least: int) -> None:
    if time < least:
        raise ValueError(f"this needs {least} frames or more, not {time}")


def _rate(fps: float) -> None:
    if not fps > 0:
        raise ValueError(f"fps is {fps:g}; it must be above 0")
