from __future__ import annotations

import random
import threading
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.config import parse
from muybridge.core.errors import DataError, RecipeError
from muybridge.core.video import Frames
from muybridge.data import loader as loading
from muybridge.data.loader import Config, Loader
from muybridge.data.store import Clip, Dataset

SIZE = (3, 5)


class Memory:
    """Noise in memory, as a source of frames."""

    kind = "rgb"

    def __init__(self, clips: tuple[Clip, ...]) -> None:
        generator = np.random.default_rng(0)
        self.of = {
            clip.file: generator.integers(
                0, 256, (clip.frames, clip.height, clip.width, 3), np.uint8
            )
            for clip in clips
        }

    def frames(self, clip: Clip, indices: np.ndarray[Any, np.dtype[np.int64]]) -> Frames:
        assert indices.min() >= 0
        return self.of[clip.file][indices]


def stored(
    lengths: list[int],
    fps: float = 24,
    labels: list[str] | None = None,
    captions: list[str] | None = None,
    kinds: list[bytes] | None = None,
    sizes: list[tuple[int, int]] | None = None,
    objects: list[tuple[str, ...]] | None = None,
) -> Dataset:
    """A dataset of noise, in memory: all of it for training, but a last clip for validation."""
    count = len(lengths)
    clips = tuple(
        Clip(
            f"clip{i}.mp4", f"train/clip{i}.mp4", "train", i, length,
            *(sizes[i] if sizes else SIZE),
            label=labels[i] if labels else "", caption=captions[i] if captions else "",
            objects=objects[i] if objects else (), kinds=kinds[i] if kinds else bytes(length),
        )
        for i, length in enumerate(lengths)
    )  # fmt: skip
    held_out = Clip("held.mp4", "validation/held.mp4", "validation", count, 400, *SIZE)
    facts = {
        "fps": fps,
        "size": list(SIZE),
        "sizes": [list(SIZE)],
        "labels": sorted(set(labels or ()) - {""}),
        "captioned": sum(map(bool, captions or ())),
    }
    clips = (*clips, held_out)
    return Dataset(Path("dataset"), facts, clips, Memory(clips))


def pixels_of(dataset: Dataset, clip: Clip) -> Frames:
    assert isinstance(dataset.source, Memory)
    return dataset.source.of[clip.file]


def loader(dataset: Dataset, seed: int = 0, split: str = "train", **settings: Any) -> Loader:
    values: dict[str, Any] = {"frames": 4, "fps": 8.0, "size": SIZE} | settings
    return Loader(dataset, split, Config(**values), seed)


def same(first: Batch, second: Batch) -> bool:
    for name in ("clips", "times", "frame_weight", "seeds", "label"):
        one, other = getattr(first, name), getattr(second, name)
        if (one is None) != (other is None) or (one is not None and not torch.equal(one, other)):
            return False
    return (first.names, first.text) == (second.names, second.text)


def joined(parts: list[Batch]) -> Batch:
    tensors = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("clips", "times", "frame_weight", "seeds")
    }
    labels = [part.label for part in parts if part.label is not None]
    texts = [part.text for part in parts if part.text is not None]
    return Batch(
        **tensors,
        names=sum((part.names for part in parts), ()),
        text=sum(texts, ()) if texts else None,
        label=torch.cat(labels) if labels else None,
    )


def window(dataset: Dataset, name: str) -> tuple[Clip, int]:
    """The clip and the first stored frame that a batch's name tells."""
    clip_name, _, moment = name.rpartition("@")
    (clip,) = [clip for clip in dataset.clips if clip.name == clip_name]
    return clip, round(float(moment.removesuffix("s")) * dataset.fps)


# All that a clip can be changed by at once.
VARIED: dict[str, float] = {
    "flip": 0.5, "flip_vertical": 0.5, "rotate": 20, "zoom": 0.3, "brightness": 0.1,
    "contrast": 0.2, "saturation": 0.3, "hue": 10, "noise": 4, "speed": 0.3, "rate": 0.3,
}  # fmt: skip
FULL = stored(
    [40, 17, 10, 25, 12],
    labels=["b", "a", "", "b", "c"],
    captions=["one", "two", "", "four", "five"],
)
LENGTHS = st.lists(st.integers(10, 60), min_size=1, max_size=9)


@given(st.integers(0, 2**31), st.integers(0, 10_000), st.integers(1, 9), st.booleans())
def test_a_batch_is_a_function_of_seed_and_step(
    seed: int, step: int, size: int, varied: bool
) -> None:
    augment = VARIED if varied else {}
    made = loader(FULL, seed, augment=augment)
    batch = made.batch(step, size)
    assert len(batch) == size
    made.batch(step + 1, size)  # what was asked before does not matter
    made.fixed(3)
    assert same(made.batch(step, size), batch)
    assert same(loader(FULL, seed, augment=augment).batch(step, size), batch)
    other = loader(FULL, seed + 1, augment=augment).batch(step, size)
    assert not torch.equal(other.seeds, batch.seeds)


def test_no_draw_moves_the_chance_of_others() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = loader(FULL, augment=VARIED).batch(3, 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    np.random.seed(2)
    random.seed(2)
    assert same(loader(FULL, augment=VARIED).batch(3, 4), first)


@given(st.integers(0, 500), st.integers(1, 4), st.integers(1, 4))
def test_the_slices_of_all_ranks_are_the_global_batch(step: int, world: int, share: int) -> None:
    made = loader(FULL, 5, augment=VARIED)
    parts = [made.batch(step, world * share, rank, world) for rank in range(world)]
    assert all(len(part) == share for part in parts)
    assert same(joined(parts), made.batch(step, world * share))


@given(LENGTHS, st.integers(1, 13), st.integers(0, 99))
def test_each_epoch_goes_once_through_all_clips(lengths: list[int], size: int, seed: int) -> None:
    dataset, epochs = stored(lengths), 4
    made, count = loader(dataset, seed), len(lengths)
    batches = [made.batch(step, size) for step in range(-(-epochs * count // size))]
    names = [name.partition("@")[0] for batch in batches for name in batch.names]
    for epoch in range(epochs):
        part = names[epoch * count : (epoch + 1) * count]
        assert sorted(part) == sorted(f"clip{i}.mp4" for i in range(count))


def test_epochs_have_orders_of_their_own() -> None:
    made = loader(stored([20] * 12))
    orders = [tuple(n.partition("@")[0] for n in made.batch(epoch, 12).names) for epoch in range(6)]
    assert len(set(orders)) == 6


def test_each_place_has_a_seed_of_its_own() -> None:
    made = loader(FULL)
    seeds = torch.cat([made.batch(step, 5).seeds for step in range(60)])
    assert seeds.dtype == torch.int64
    assert len(set(seeds.tolist())) == 300


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
@pytest.mark.parametrize("start", [0, 7])
def test_iterating_from_a_step_gives_its_batches(start: int, rank: int, world: int) -> None:
    made = loader(FULL, 2, augment=VARIED)
    batches = made.iterate(start, 4, rank, world)
    for step, batch in zip(range(start, start + 6), batches, strict=False):
        assert same(batch, made.batch(step, 4, rank, world))
    batches.close()


@given(
    LENGTHS, st.integers(1, 6), st.sampled_from([24, 12.5, 8, 7, 5]), st.sampled_from([24, 25, 30]),
    st.integers(0, 999), st.booleans(),
)  # fmt: skip
def test_pixels_are_the_stored_frames_of_one_window(
    lengths: list[int], frames: int, fps: float, stored_fps: float, step: int, flip: bool
) -> None:
    dataset = stored(lengths, stored_fps)
    # The places of frames, each the nearest to its moment.
    steps = [Fraction(i) * Fraction(stored_fps) / Fraction(fps) for i in range(frames)]
    if max(lengths) < round(steps[-1]) + 1:
        return
    made = loader(dataset, step, frames=frames, fps=fps, augment={"flip": flip / 2})
    batch = made.batch(step, 5)
    assert batch.clips.shape == (5, frames, 3, *SIZE) and batch.clips.dtype == torch.float32
    assert batch.frame_weight.tolist() == [[1.0] * frames] * 5
    for pixels, name, times in zip(batch.clips, batch.names, batch.times, strict=True):
        clip, start = window(dataset, name)
        places = np.rint(times.double().numpy() * stored_fps).astype(int)
        assert np.abs(places - np.array([float(s) for s in steps])).max() <= 0.5
        assert start >= 0 and start + places[-1] < clip.frames
        own = pixels_of(dataset, clip)[start + places]
        levels = ((pixels.double() + 1) * 127.5).numpy().transpose(0, 2, 3, 1)
        if flip and not np.allclose(levels, own, atol=1e-3):
            own = own[:, :, ::-1]
        assert np.allclose(levels, own, atol=1e-3)


def test_times_are_in_seconds_of_the_stored_rate() -> None:
    batch = loader(stored([60], fps=25), frames=4, fps=10.0).batch(0, 2)
    # Moments 0, 0.1, 0.2, 0.3 s, taken from frames 0, 2 or 3, 5, 7 or 8 at 25 a second.
    assert batch.times.dtype == torch.float32
    for times in batch.times.tolist():
        assert times == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.02 + 1e-6)
        assert [time * 25 for time in times] == pytest.approx(
            [round(t * 25) for t in times], abs=1e-4
        )


def test_all_windows_of_a_clip_are_drawn() -> None:
    dataset = stored([12])
    made = loader(dataset, frames=4, fps=8)  # reaches over 10 frames
    starts = Counter(
        window(dataset, name)[1] for step in range(60) for name in made.batch(step, 5).names
    )
    assert sorted(starts) == [0, 1, 2]
    assert min(starts.values()) > 60  # of 100 each


def test_half_of_the_clips_are_mirrored_where_asked() -> None:
    dataset = stored([10] * 4)
    plain = {
        name: clip
        for batch in [loader(dataset).batch(0, 4)]
        for name, clip in zip(batch.names, batch.clips, strict=True)
    }
    mirrored, count = 0, 400
    for step in range(count // 4):
        batch = loader(dataset, augment={"flip": 0.5}).batch(step, 4)
        for name, clip in zip(batch.names, batch.clips, strict=True):
            if torch.equal(clip, plain[name].flip(-1)):
                mirrored += 1
            else:
                assert torch.equal(clip, plain[name])
    assert abs(mirrored - count / 2) < 5 * (count / 4) ** 0.5


def test_nothing_is_mirrored_unasked() -> None:
    dataset = stored([10] * 4)
    first = {
        name: clip
        for batch in [loader(dataset).batch(0, 4)]
        for name, clip in zip(batch.names, batch.clips, strict=True)
    }
    for step in range(20):
        batch = loader(dataset).batch(step, 4)
        for name, clip in zip(batch.names, batch.clips, strict=True):
            assert torch.equal(clip, first[name])


def test_captions_and_labels_are_those_of_the_clip() -> None:
    batch = loader(FULL).batch(0, 5)
    assert batch.text is not None and batch.label is not None
    for name, text, label in zip(batch.names, batch.text, batch.label.tolist(), strict=True):
        clip, _ = window(FULL, name)
        assert text == clip.caption
        # One past the last is "not said".
        assert ["a", "b", "c", ""][label] == clip.label
    plain = loader(stored([20, 30])).batch(0, 2)
    assert plain.text is None and plain.label is None


def test_only_clips_of_the_split_that_are_long_enough() -> None:
    dataset = stored([9, 10, 9, 11])
    made = loader(dataset, frames=4, fps=8)  # reaches over 10 frames
    assert made.span == 10
    assert {clip.name for clip in made.clips} == {"clip1.mp4", "clip3.mp4"}
    assert [clip.name for clip in loader(dataset, split="validation").clips] == ["held.mp4"]


@given(LENGTHS, st.integers(1, 30), st.integers(0, 99), st.data())
def test_fixed_clips_are_the_same_every_time_and_their_parts_make_the_whole(
    lengths: list[int], count: int, seed: int, data: st.DataObject
) -> None:
    made = loader(stored(lengths), seed, augment={"flip": 0.5})
    whole = made.fixed(count)
    assert len(whole) == count
    made.batch(3, 4)
    assert same(loader(stored(lengths), seed, augment={"flip": 0.5}).fixed(count), whole)
    cut = data.draw(st.integers(0, count))
    parts = [
        made.fixed(count, begin, end)
        for begin, end in ((0, cut), (cut, count + 5))
        if begin < min(end, count)
    ]
    assert same(joined(parts), whole)


@given(LENGTHS, st.integers(1, 40))
def test_fixed_clips_are_spread_evenly(lengths: list[int], count: int) -> None:
    dataset = stored(lengths)
    batch = loader(dataset).fixed(count)
    windows = [window(dataset, name) for name in batch.names]
    shown = Counter(clip.name for clip, _ in windows)
    if count >= len(lengths):
        assert set(shown.values()) <= {count // len(lengths), -(-count // len(lengths))}
        assert len(shown) == len(lengths)
    else:
        assert len(shown) == count, "a clip is shown twice while another is not shown"
    for pixels, (clip, start) in zip(batch.clips, windows, strict=True):
        assert 0 <= start <= clip.frames - 10
        own = pixels_of(dataset, clip)[start + np.arange(4) * 3].transpose(0, 3, 1, 2)
        assert np.allclose((pixels.numpy() + 1) * 127.5, own, atol=1e-3)


def test_fixed_clips_of_a_long_clip_are_different_moments() -> None:
    dataset = stored([400])
    starts = [window(dataset, name)[1] for name in loader(dataset).fixed(8).names]
    gaps = np.diff(starts)
    assert gaps.min() > 0.8 * 390 / 8 and gaps.max() < 1.2 * 390 / 8


def test_fixed_clips_are_from_all_over_the_split() -> None:
    names = [name.partition("@")[0] for name in loader(stored([20] * 40)).fixed(8).names]
    numbers = [int(name[4:].partition(".")[0]) for name in names]
    assert max(np.diff(numbers)) <= 6 and numbers[-1] >= 34


def test_a_rate_above_the_stored_one_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        loader(FULL, fps=25.0)
    assert "data.fps = 25" in caught.value.message and "24" in caught.value.message
    assert "prepare.fps" in caught.value.hint


def test_another_size_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        loader(FULL, size=(5, 3))
    assert "data.size = [5, 3]" in caught.value.message and "[3, 5]" in caught.value.message
    assert "prepare.size" in caught.value.hint


def test_no_clip_that_is_long_enough_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        loader(FULL, frames=40)
    # 39 steps of three frames and one more, at 24 a second; the longest has 40 frames.
    for told in ("train", "data.frames = 40", "data.fps = 8", "4.92 s", "1.67 s"):
        assert told in caught.value.message
    assert caught.value.hint
    with pytest.raises(DataError, match="test split"):
        loader(FULL, split="test")


@pytest.mark.parametrize(
    "values",
    [
        {"fps": 0}, {"fps": -8}, {"fps": float("nan")}, {"fps": float("inf")}, {"frames": 0},
        {"frames": -1}, {"size": (0, 64)}, {"size": (64, -2)},
    ],
)  # fmt: skip
def test_settings_that_no_clip_can_have_are_refused(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(RecipeError, match=f"data.{name}"):
        parse(Config, values, "data")


def test_opencv_makes_no_threads_beside_the_training() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        batches = loader(FULL).iterate(0, 2)
        next(batches)
        batches.close()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


# --- order ---------------------------------------------------------------------------------------


@given(LENGTHS, st.integers(1, 13), st.integers(0, 99), st.integers(0, 200))
def test_the_order_is_a_shuffle_an_epoch(
    lengths: list[int], size: int, seed: int, step: int
) -> None:
    """Runs go on from older checkpoints only if this stays as it is."""
    count, batch = len(lengths), loader(stored(lengths), seed).batch(step, size)
    for place, (name, own) in enumerate(zip(batch.names, batch.seeds.tolist(), strict=True)):
        epoch, position = divmod(step * size + place, count)
        which = int(chance.permutation(count, seed, "epoch", epoch)[position])
        assert own == chance.mix(seed, "clip", step * size + place)
        start = chance.mix(own, "start") % (lengths[which] - 9)
        assert name == f"clip{which}.mp4@{start / 24:.2f}s"


SHAPES = [SIZE, (5, 3), (4, 4)]


@given(
    st.lists(st.sampled_from(SHAPES), min_size=1, max_size=12), st.integers(1, 9),
    st.integers(0, 99),
)  # fmt: skip
def test_batches_are_of_one_size_and_each_clip_comes_in_its_turn(
    sizes: list[tuple[int, int]], size: int, seed: int
) -> None:
    dataset = stored([12] * len(sizes), sizes=sizes)
    made, count = loader(dataset, seed), len(sizes)
    per_size = Counter(sizes)
    seen: Counter[str] = Counter()
    steps_of: Counter[tuple[int, ...]] = Counter()
    epoch = 0
    for step in range(4 * count + 8):
        batch = made.batch(step, size)
        shape = tuple(batch.clips.shape[-2:])
        for name in batch.names:
            seen[name.partition("@")[0]] += 1
        steps_of[shape] += 1
        for other in per_size:
            came = [seen[f"clip{i}.mp4"] for i in range(count) if sizes[i] == other]
            assert max(came) - min(came) <= 1, "a clip came again before another of its size"
        ends = sum(-(-(epoch + 1) * number // size) for number in per_size.values())
        if step + 1 == ends:
            epoch += 1
            for i in range(count):
                assert seen[f"clip{i}.mp4"] >= epoch
            for other, number in per_size.items():
                assert steps_of[other] * size - epoch * number < size
    assert same(made.batch(3, size), loader(dataset, seed).batch(3, size))


def test_sizes_are_mixed_within_an_epoch() -> None:
    dataset = stored([12] * 40, sizes=[SHAPES[i % 2] for i in range(40)])
    made = loader(dataset)
    shapes = [tuple(made.batch(step, 1).clips.shape[-2:]) for step in range(40)]
    assert Counter(shapes) == {SHAPES[0]: 20, SHAPES[1]: 20}
    changes = sum(a != b for a, b in pairwise(shapes))
    assert 8 < changes < 32


@given(st.integers(0, 300), st.integers(1, 3), st.integers(1, 3))
def test_the_slices_of_all_ranks_are_the_global_batch_of_any_size(
    step: int, world: int, share: int
) -> None:
    made = loader(stored([12, 14, 30, 12, 12], sizes=[*SHAPES, *SHAPES[:2]]), augment=VARIED)
    parts = [made.batch(step, world * share, rank, world) for rank in range(world)]
    assert same(joined(parts), made.batch(step, world * share))


def test_fixed_clips_are_of_the_base_size_if_any_is() -> None:
    made = loader(stored([12] * 5, sizes=[(4, 4), SIZE, (4, 4), (4, 4), SIZE]))
    assert {name.partition("@")[0] for name in made.fixed(6).names} == {"clip1.mp4", "clip4.mp4"}
    made = loader(stored([12] * 3, sizes=[(5, 3), (4, 4), (4, 4)]))
    assert {name.partition("@")[0] for name in made.fixed(6).names} == {"clip1.mp4", "clip2.mp4"}


# --- invented frames -----------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.sampled_from([0, 0, 1, 2]), min_size=10, max_size=40), min_size=1,
             max_size=5),
    st.sampled_from([0.0, 0.25, 1.0]), st.booleans(), st.integers(0, 50),
)  # fmt: skip
def test_weights_are_less_exactly_at_invented_frames_and_these_as_few_as_can_be(
    kinds: list[list[int]], invented: float, varied: bool, step: int
) -> None:
    dataset = stored([len(k) for k in kinds], kinds=[bytes(k) for k in kinds])
    augment = {"flip": 0.5, "noise": 3} if varied else {}
    try:
        made = loader(dataset, invented=invented, augment=augment)
    except DataError:
        return
    for batch in (made.batch(step, 4), made.fixed(4)):
        for name, weights in zip(batch.names, batch.frame_weight.tolist(), strict=True):
            clip, start = window(dataset, name)
            real = [kind == 0 for kind in clip.kinds]
            own = [real[start + offset] for offset in (0, 3, 6, 9)]
            assert weights == [1.0 if it else invented for it in own]
            most = max(
                sum(real[s + offset] for offset in (0, 3, 6, 9)) for s in range(len(real) - 9)
            )
            assert sum(own) == most


def test_footage_slower_than_the_stored_rate_starts_at_true_frames() -> None:
    # 8 frames a second stored at 24: each frame comes three times; the second is the true one.
    dataset = stored([60], kinds=[bytes([1, 0, 1] * 20)])
    made = loader(dataset)
    starts = set()
    for step in range(40):
        batch = made.batch(step, 4)
        assert batch.frame_weight.min() == 1
        starts |= {window(dataset, name)[1] for name in batch.names}
    assert starts == set(range(1, 51, 3))


def test_a_clip_of_invented_frames_alone_is_left_out_unless_asked_for() -> None:
    dataset = stored([20, 20], kinds=[bytes([2] * 20), bytes(20)])
    assert [clip.name for clip in loader(dataset).clips] == ["clip1.mp4"]
    assert len(loader(dataset, invented=0.5).clips) == 2
    with pytest.raises(DataError, match=r"data\.invented"):
        loader(stored([20], kinds=[bytes([2] * 20)]))


# --- augmentation --------------------------------------------------------------------------------


@given(
    st.floats(0, 0.9), st.floats(0, 1), st.sampled_from([24.0, 12.0, 8.0, 7.0]), st.integers(0, 99)
)
def test_times_are_those_of_the_clip_as_it_is_to_look(
    speed: float, rate: float, fps: float, step: int
) -> None:
    made = loader(stored([40, 90, 200]), augment={"speed": speed, "rate": rate}, fps=fps)
    batch = made.batch(step, 6)
    frames = torch.arange(4) / fps
    for pixels, name, times in zip(batch.clips, batch.names, batch.times, strict=True):
        clip, start = window(made.dataset, name)
        own = pixels_of(made.dataset, clip)
        levels = ((pixels.double() + 1) * 127.5).numpy().transpose(0, 2, 3, 1)
        places = [int(np.abs(own - level).sum((1, 2, 3)).argmin()) for level in levels]
        assert np.allclose(own[places], levels, atol=1e-3)
        assert places[0] == start
        gaps = np.diff(places)
        assert gaps.min() >= 1, "a frame comes twice"
        # Half the rate or not; besides that as data.fps has it, to half a stored frame (at up to
        # ten times the speed less).
        slow = float(times[-1]) / float(frames[-1])
        every = 2 if slow > 1.5 else 1
        assert float((times - every * frames).abs().max()) <= 0.5 / 24 / (1 - speed) + 1e-5
        if rate == 0:
            assert every == 1
        # Played at its speed, the frames are seen at these times.
        ratio = places[-1] - places[0]
        played = ratio / 24 / float(times[-1])
        assert (1 - speed) - 1e-3 <= played <= 1 / (1 - speed) + 1e-3


def test_speeds_are_drawn_either_way() -> None:
    made = loader(stored([400] * 4), augment={"speed": 0.3})
    spans = []
    for step in range(50):
        batch = made.batch(step, 4)
        assert batch.times[:, -1].sub(3 / 8).abs().max() < 0.03
        spans += [cut.places[-1] - cut.places[0] for cut in (made._drawn(made.clips[0], step),)]
    assert min(spans) < 9 < max(spans)
    assert min(spans) >= 6 and max(spans) <= 13


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=10, max_size=60), st.integers(0, 99)
)  # fmt: skip
def test_no_speed_is_bought_with_invented_frames(kinds: list[int], step: int) -> None:
    dataset = stored([len(kinds)] * 2, kinds=[bytes(kinds)] * 2)
    plain = loader(dataset, invented=0.5)
    varied = loader(dataset, invented=0.5, augment={"speed": 0.5, "rate": 0.5})
    for weights in varied.batch(step, 4).frame_weight:
        assert weights.sum() >= plain.fixed(1).frame_weight.sum()


@given(LENGTHS, st.integers(0, 100))
def test_changes_of_the_picture_leave_places_times_and_weights(
    lengths: list[int], step: int
) -> None:
    still = {name: value for name, value in VARIED.items() if name not in ("speed", "rate")}
    plain, varied = loader(stored(lengths)), loader(stored(lengths), augment=still)
    one, other = plain.batch(step, 3), varied.batch(step, 3)
    assert one.names == other.names
    assert torch.equal(one.times, other.times) and torch.equal(one.seeds, other.seeds)


def test_words_are_swapped_where_a_clip_is_mirrored() -> None:
    dataset = stored(
        [10] * 4,
        labels=["turn_left", "turn_right", "wave_left", ""],
        captions=["turns left", "turns right", "waves his left hand", "he left right now"],
        objects=[("left shoe", "hat"), ("hat",), (), ("right shoe",)],
    )
    plain = loader(dataset).batch(0, 4)
    before = {name: clip for name, clip in zip(plain.names, plain.clips, strict=True)}
    assert dataset.labels == ["turn_left", "turn_right", "wave_left"]
    assert dataset.objects == ["hat", "left shoe", "right shoe"]
    seen = set()
    for step in range(20):
        batch = loader(dataset, augment={"flip": 0.5}).batch(step, 4)
        assert batch.text and batch.label is not None and batch.objects is not None
        rows = zip(
            batch.names, batch.clips, batch.text, batch.label.tolist(), batch.objects.tolist(),
            strict=True,
        )  # fmt: skip
        for name, pixels, text, label, objects in rows:
            mirrored = torch.equal(pixels, before[name].flip(-1))
            assert mirrored != torch.equal(pixels, before[name])
            seen.add((name[:5], mirrored, text, label, tuple(objects)))
    assert seen == {
        ("clip0", False, "turns left", 0, (1, 1, 0)),
        ("clip0", True, "turns right", 1, (1, 0, 1)),
        ("clip1", False, "turns right", 1, (1, 0, 0)),
        ("clip1", True, "turns left", 0, (1, 0, 0)),
        ("clip2", False, "waves his left hand", 2, (0, 0, 0)),
        ("clip3", False, "he left right now", 3, (0, 0, 1)),
    }


def test_fixed_clips_are_never_varied() -> None:
    assert same(loader(FULL, augment=VARIED).fixed(9), loader(FULL).fixed(9))


def test_objects_are_told_only_where_the_data_names_some() -> None:
    assert loader(FULL).batch(0, 2).objects is None


def test_a_disk_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = loader(stored([40, 40]))
    answers, slow = threading.Event(), made.batch(0, 2).names[1].partition("@")[0]
    frames = Memory.frames

    def hanging(self: Memory, clip: Clip, indices: np.ndarray[Any, np.dtype[np.int64]]) -> Frames:
        if clip.name == slow:
            assert answers.wait(30)
        return frames(self, clip, indices)

    monkeypatch.setattr(Memory, "frames", hanging)
    monkeypatch.setattr(loading, "_LONG", 0.05)
    monkeypatch.setattr(loading, "say", lambda text: (print(text), answers.set()))
    batches = made.iterate(0, 2)
    first = next(batches)
    batches.close()
    monkeypatch.undo()
    said = capsys.readouterr().out
    assert f"train/{slow}" in said and said.startswith("waiting for 0 s")
    assert same(first, made.batch(0, 2))
