"""What is counted while clips are timed; no time is asserted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from muybridge.evaluation import speed
from muybridge.evaluation.speed import Speed, measure, scores

FRAMES, SIDE = 4, 8
INPUTS, OUTPUTS, KERNEL = 3, 5, 3


class Maker:
    """Loads a small network, and makes clips with it, keeping count."""

    def __init__(self, mode: str = "") -> None:
        self.loads, self.mode, self.clock = 0, mode, 0.0
        self.made: list[int] = []

    def load(self) -> nn.Module:
        self.loads += 1
        self.clock += 5
        return nn.ModuleDict(
            {"conv": nn.Conv3d(INPUTS, OUTPUTS, KERNEL, padding=1), "last": nn.Linear(OUTPUTS, 7)}
        )

    def make(self, network: nn.Module, count: int) -> Tensor:
        assert isinstance(network, nn.ModuleDict)
        self.made.append(count)
        # The first is slow, and of several at once each takes half.
        self.clock += 3 if len(self.made) == 1 else (1 + count) / 2
        with torch.inference_mode() if self.mode == "inference" else torch.no_grad():
            clips = torch.zeros(count, INPUTS, FRAMES, SIDE, SIDE)
            for _ in range(2):  # steps of a sampler
                network["last"](network["conv"](clips).movedim(1, -1))
            return clips.movedim(1, 2)


def test_calls_are_one_cold_one_warm_and_those_that_are_timed() -> None:
    maker = Maker()
    found = measure(maker.load, maker.make, 8.0, repeats=5, batch_size=3)
    assert maker.loads == 1
    # Cold, warm, five timed, a batch, and one whose operations are counted.
    assert maker.made == [1, 1, *[1] * 5, 3, 1]
    assert len(found.clips) == 5
    assert (found.frames, found.fps, found.batch_size) == (FRAMES, 8.0, 3)
    assert found.peak_memory > 0


def test_what_is_done_once_counts_as_cold_only(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker()
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: maker.clock))
    found = measure(maker.load, maker.make, 8.0, repeats=4, batch_size=3)
    assert found.cold == 5 + 3
    assert found.clips == (1.0,) * 4
    assert found.first_frame == 1
    assert found.batch == pytest.approx(2 / 3)


@pytest.mark.parametrize("mode", ["inference", "no gradients"])
def test_operations_and_parameters_are_those_by_hand(mode: str) -> None:
    maker = Maker(mode)
    found = measure(maker.load, maker.make, 8.0, repeats=2)
    places = FRAMES * SIDE * SIDE
    by_hand = 2 * (2 * places * OUTPUTS * INPUTS * KERNEL**3 + 2 * places * OUTPUTS * 7)
    assert found.flops == by_hand
    weights = OUTPUTS * INPUTS * KERNEL**3 + OUTPUTS + OUTPUTS * 7 + 7
    assert found.parameters == weights


SOME = Speed(
    cold=5.0, clips=(1.0, 2.0, 3.0, 4.0, 10.0), batch=0.8, batch_size=4, first_frame=3.0,
    frames=16, fps=8.0, peak_memory=3 * 2**20, parameters=2_500_000, flops=7_000_000_000,
)  # fmt: skip


def test_operations_are_counted_where_a_layer_is_given_a_view_of_a_parameter() -> None:
    """As a recurrent network's first state is."""

    class Learned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.begin, self.layer = nn.Parameter(torch.zeros(2, 3)), nn.Linear(3, 5)

    def make(network: nn.Module, count: int) -> Tensor:
        assert isinstance(network, Learned)
        with torch.no_grad():
            network.layer(network.begin.view(1, 2, 3))
            return torch.zeros(count, FRAMES, 3, SIDE, SIDE)

    assert measure(Learned, make, 8.0, repeats=2).flops == 2 * 2 * 3 * 5


def test_scores_are_in_the_units_they_say() -> None:
    found = {score.name: score for score in scores(SOME, {"run": "a"})}
    values = {name: (score.value, score.unit) for name, score in found.items()}
    assert values == {
        "time of a clip": (4.0, "s"),
        "time of a clip, p95": (pytest.approx(8.8), "s"),
        "time to the first frame": (3.0, "s"),
        "time to the first clip, cold": (5.0, "s"),
        "time of a frame": (pytest.approx(0.05), "s"),
        "real-time factor": (pytest.approx(2 / 3), ""),
        "peak memory": (3.0, "MiB"),
        "parameters": (2.5, "M"),
        "operations of a clip": (7.0, "GFLOP"),
    }
    assert found["real-time factor"].better == "higher"
    assert all(s.better == "lower" for n, s in found.items() if n != "real-time factor")


def test_the_machine_is_in_the_manifest_of_every_score() -> None:
    for score in scores(SOME, {"run": "a"}):
        assert {"machine", "cores", "threads", "torch", "frames", "fps"} <= score.manifest.keys()
    batch = next(s for s in scores(SOME, {}) if s.name == "time of a frame")
    assert batch.manifest["clips_at_once"] == 4


def test_two_video_seconds_in_one_are_twice_real_time() -> None:
    assert dataclasses.replace(SOME, clips=(1.0, 1.0)).real_time == 2
    assert speed.machine()["threads"] == torch.get_num_threads()


def test_frames_that_come_one_after_another_are_timed_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maker = Maker()
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: maker.clock))

    def frames(_: nn.Module) -> Iterator[Tensor]:
        for seconds in (0.5, 0.25, 0.25, 0.125):
            maker.clock += seconds
            yield torch.zeros(1, 3, SIDE, SIDE)

    found = measure(maker.load, maker.make, 8.0, repeats=2, stream=frames)
    assert found.one_by_one == (0.5, 0.25, 0.25, 0.125)
    assert found.first_frame == 0.5
    latency = next(s for s in scores(found, {}) if s.name == "latency of a frame")
    assert latency.value == 0.25
    assert "0.125 s" in latency.note  # how long a frame is shown, at 8 a second
    whole = measure(maker.load, maker.make, 8.0, repeats=2, stream=lambda _: None)
    assert "latency of a frame" not in [s.name for s in scores(whole, {})]
