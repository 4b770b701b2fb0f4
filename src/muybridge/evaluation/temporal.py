"""How clips go on in time: what flow leaves unexplained, uneven motion, flicker, drift, cuts.

Each measure is a function of clips, (n, time, 3, height, width) in [-1, 1], and gives one number a
clip, float64 (n,). Those of flow take a `Motion` in its place, so that the flow of some clips is
found once; `measure` does that for all, chunk by chunk. Brightness is in [0, 1].

None of them is good by being low: still pictures win most. They stand beside the amount of motion,
and are to be near real footage's own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core.measures import luma
from .flow import Mask, Motion, Real, motion, warped

Array = npt.NDArray[np.float64]

# Mean absolute difference in brightness of frames that are one picture: a quarter of a grey level.
REPEATED = 0.25 / 255
# Pixels of flow, frame to frame, below which nothing moves.
STILL = 0.01
# Cells a side in which flicker is looked for.
CELLS = 4
# A cut: less than this share of what is usually seen again from frame to frame, and this many times
# the usual difference after motion and change of light are taken away.
SEEN, UNLIKE = 0.6, 1.5
# Share of a cell that must be seen.
ENOUGH = 0.25
# For disorder: what four differences add up to where things move, and the share of it that is left.
MOVING, SMOOTHER = 4 / 255, 0.9
_CHUNK = 2**20  # pixels, of all frames, whose flow is held at once


def measure(clips: Tensor, fps: float) -> dict[str, Array]:
    """All measures of this file, by name, each (n,).

    Args:
        clips: (n, time, 3, height, width) in [-1, 1], four frames of 16 x 16 pixels or more.
        fps: frames per second.

    Raises:
        ValueError: other shapes, values that are not finite, or fps that is not above 0.
    """
    if clips.ndim != 5 or not clips.numel():
        raise ValueError(f"clips are (n, time, 3, height, width), not {tuple(clips.shape)}")
    parts = []
    size = max(1, _CHUNK // clips[0, :, 0].numel())
    for chunk in torch.split(clips, size):
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
            both = found.ahead[k, i] & _still_seen(found.ahead[k, i + 1], flows[i])
            change += float(_lengths(goes - went)[both].sum())
            length += float((_lengths(goes) + _lengths(went))[both].sum())
            count += 2 * int(both.sum())
        if length > STILL * count:
            table[k] = change / length
    return table


def flicker(clips: Tensor | Motion) -> Array:
    """Brightness and colour that come and go, as the amplitude of an alternation, 0 to 1.

    A quarter of the second difference I(t-1) - 2 I(t) + I(t+1) along each path that is seen in all
    three frames, mean over each of 4 x 4 cells, then root mean square over colours, frames and
    cells, those left out of which less than a quarter is seen. Steady motion and steady fades have
    none, and noise little.

    Raises:
        ValueError: fewer than three frames.
    """
    found = _motion(clips)
    _frames(found.frames.shape[1], 3)
    table = np.zeros(len(found.frames))
    for k, frames in enumerate(found.frames):
        bends = []
        for i in range(1, len(frames) - 1):
            after = warped(frames[i + 1], found.forward[k, i])
            before = warped(frames[i - 1], found.backward[k, i - 1])
            bends.append((before - 2 * frames[i] + after) / 4)
        both = (found.ahead[k, 1:] & found.behind[k, :-1])[..., None]
        held = _cells(both)
        cells = _cells(np.stack(bends) * both) / np.maximum(held, 1e-9)
        if (held >= ENOUGH).any():
            table[k] = np.sqrt(np.square(cells)[(held >= ENOUGH)[..., 0]].mean())
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
    return np.asarray(lengths / np.maximum(found.ahead.sum((1, 2, 3)), 1) * fps / height)


def jump_cuts(clips: Tensor | Motion) -> Array:
    """How many cuts a clip has.

    From a frame to the next, less than 0.6 of what is usual in the clip (the median) is seen again,
    and what flow and a change of light leave unexplained is 1.5 times the usual. So it finds cuts
    within one scene, which `data.shots` links. None in clips of fewer than four frames.
    """
    found = _motion(clips)
    table = np.zeros(len(found.frames))
    shares = (found.ahead.mean((2, 3)) + found.behind.mean((2, 3))) / 2
    for k, share in enumerate(shares):
        few = share < SEEN * np.median(share)
        if few.any():
            left = _unexplained(found, k)
            table[k] = (few & (left > max(UNLIKE * np.median(left), REPEATED))).sum()
    return table


# --- by pixels alone -----------------------------------------------------------------------------


def luma_change(clips: Tensor) -> Array:
    """Mean absolute change of luma from frame to frame, 0 to 1.

    Raises:
        ValueError: fewer than two frames.
    """
    _frames(clips.shape[1], 2)
    return np.asarray(np.abs(np.diff(_luma(clips), axis=1)).mean((1, 2, 3)))


def freeze(clips: Tensor) -> Array:
    """Share of frames that repeat the one before: mean difference under a quarter grey level.

    Raises:
        ValueError: fewer than two frames.
    """
    _frames(clips.shape[1], 2)
    apart = clips.double().diff(dim=1).abs().mean((2, 3, 4)) / 2
    return np.asarray((apart < REPEATED).double().mean(1).numpy())


def disorder(clips: Tensor) -> Array:
    """Share of the moving places where two neighbours in each other's place move more smoothly.

    Frames i and i + 1 are in each other's place where |I(i-1) - I(i+1)| + |I(i) - I(i+2)|, means
    over luma less its mean in each frame, is under 0.9 of |I(i-1) - I(i)| + |I(i+1) - I(i+2)|; a
    place moves where all four together are above four grey levels. About 0 for footage in order,
    forwards or backwards, 0.5 where each pair has changed places; 0 where nothing moves.

    Raises:
        ValueError: fewer than four frames.
    """
    _frames(clips.shape[1], 4)
    y = _luma(clips)
    y -= y.mean((2, 3), keepdims=True)
    one, two = (np.abs(y[:, gap:] - y[:, :-gap]).mean((2, 3)) for gap in (1, 2))
    as_is, swapped = one[:, :-2] + one[:, 2:], two[:, :-1] + two[:, 1:]
    moving = as_is + swapped > MOVING
    found = (swapped < SMOOTHER * as_is) & moving
    return np.asarray(found.sum(1) / np.maximum(moving.sum(1), 1), np.float64)


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
    (colour, contrast, slope), (colours, contrasts, slopes) = (
        _look(end) for end in (clips[:, :span], clips[:, -span:])
    )
    return {
        "colour": np.asarray(np.linalg.norm(colours - colour, axis=1) / contrast),
        "contrast": np.abs(np.log(contrasts / contrast)),
        "sharpness": np.abs(np.log(slopes / contrasts * contrast / slope)),
    }


def _drift(parts: dict[str, Array]) -> Array:
    return np.asarray(np.sqrt(np.mean([np.square(part) for part in parts.values()], axis=0)))


def _look(clips: Tensor) -> tuple[Array, Array, Array]:
    """Mean colour (n, 3), deviation and mean slope of luma (n,), over all frames."""
    y = _luma(clips)
    colour = ((clips.double().mean((1, 3, 4)) + 1) / 2).cpu().numpy()
    slope = np.abs(np.diff(y, axis=2)).mean((1, 2, 3)) + np.abs(np.diff(y, axis=3)).mean((1, 2, 3))
    # A grey level more, or an empty picture would have no logarithm.
    return np.asarray(colour), y.std((2, 3)).mean(1) + 1 / 255, slope + 1 / 255


def _motion(clips: Tensor | Motion) -> Motion:
    return clips if isinstance(clips, Motion) else motion(clips)


def _lengths(flow: Real) -> Real:
    return np.asarray(np.hypot(flow[..., 0], flow[..., 1]))


def _still_seen(ahead: Mask, flow: Real) -> Mask:
    """Of the pixels that `flow` starts from, those led to where `ahead` holds all around."""
    return np.asarray(warped(ahead.astype(np.float32), flow) == 1)


def _unexplained(found: Motion, k: int) -> Array:
    """Of clip k, mean absolute difference from frame to frame after motion both ways, and after a
    change of light, (time - 1,)."""
    frames, table = found.frames[k], []
    for i, (forward, backward) in enumerate(zip(found.forward[k], found.backward[k], strict=True)):
        gaps = (
            warped(frames[i + 1], forward) - frames[i],
            warped(frames[i], backward) - frames[i + 1],
        )
        table.append([np.abs(gap - np.median(gap, (0, 1))).mean() for gap in gaps])
    return np.asarray(np.mean(table, 1), np.float64)


def _cells(pictures: npt.NDArray[np.generic]) -> Array:
    """Means over CELLS x CELLS cells, (time, height, width, c) to (time, CELLS, CELLS, c)."""
    sums = pictures.astype(np.float64)
    for axis in (1, 2):
        side = sums.shape[axis]
        starts = np.arange(CELLS) * side // CELLS
        shape = [1, 1, 1, 1]
        shape[axis] = CELLS
        widths = np.diff(starts, append=side).reshape(shape)
        sums = np.add.reduceat(sums, starts, axis) / widths
    return sums


def _luma(clips: Tensor) -> Array:
    """In [0, 1], (n, time, height, width)."""
    return np.asarray((luma(clips.detach().cpu().double()) + 1).div_(2).numpy())


def _frames(time: int, least: int) -> None:
    if time < least:
        raise ValueError(f"this needs {least} frames or more, not {time}")


def _rate(fps: float) -> None:
    if not fps > 0:
        raise ValueError(f"fps is {fps:g}; it must be above 0")
