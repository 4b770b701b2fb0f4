"""Prediction against networks whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.config import Section
from muybridge.core.errors import MuybridgeError
from muybridge.data import tasks
from muybridge.objectives import losses
from muybridge.objectives.base import Parts, SampleRequest
from muybridge.objectives.prediction import Config, Prediction

MEAN, STD = [0.1, -0.2, 0.3], [0.5, 0.4, 0.3]


class Line(nn.Module):
    """Goes on along a straight line in time: right where every pixel changes evenly."""

    def __init__(self, given: int = 2, frames: int = 3) -> None:
        super().__init__()
        self.config = SimpleNamespace(given=given, frames=frames, labels=2)
        self.gain = nn.Parameter(torch.ones(()))
        self.calls: list[tuple[Tensor, Tensor | None]] = []

    def forward(
        self, shown: Tensor, label: Tensor | None, words: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        self.calls.append((shown.detach(), label))
        step = (shown[:, -1:] - shown[:, -2:-1]) * self.gain
        ahead = torch.arange(1, self.config.frames + 1).view(1, -1, 1, 1, 1)
        return shown[:, -1:] + step * ahead


def objective(**settings: Any) -> Prediction:
    return Prediction(Config(**settings), Parts(Line(), None, MEAN, STD, Section()))


def batch(frames: int = 5, count: int = 4, given: int = 2, straight: bool = True) -> Batch:
    torch.manual_seed(0)
    begin, step = torch.rand(2, count, 1, 3, 4, 4) - 0.5
    clips = begin + step * torch.arange(frames).view(1, -1, 1, 1, 1) / 10
    if not straight:
        clips = torch.rand(count, frames, 3, 4, 4) * 2 - 1
    return Batch(
        clips=clips,
        times=(torch.arange(frames) / 8).expand(count, -1),
        frame_weight=torch.ones(count, frames),
        seeds=torch.tensor([chance.mix(7, i) for i in range(count)]),
        known=clips,
        known_mask=tasks.first(frames, given).expand(count, -1, 1, 4, 4),
    )


def request(data: Batch, frames: int | None = None) -> SampleRequest:
    """The first frames of a batch; what is not given is not to be looked at."""
    length = frames or data.clips.shape[1]
    known = torch.full((len(data), length, 3, 4, 4), torch.nan)
    known[:, :2] = data.clips[:, :2]
    times = (torch.arange(length) / 8).expand(len(data), -1)
    mask = tasks.first(length, 2).expand(len(data), -1, 1, 4, 4)
    return SampleRequest(times, (4, 4), data.seeds, known=known, known_mask=mask)


@pytest.mark.parametrize("frames", [5, 7, 9])
def test_a_perfect_network_has_no_loss_also_where_it_goes_on_from_its_own(frames: int) -> None:
    made = objective()
    assert made.loss(batch(frames), "generator", 0).sums["mse"].abs().max() < 1e-8
    assert len(made.generator["network"].calls) == -(-(frames - 2) // 3)


def test_the_loss_is_the_error_of_frames_that_are_real_and_not_given() -> None:
    made, data = objective(pixels=losses.Config(mse=1, l1=2)), batch(straight=False)
    data.frame_weight[:, 3] = 0
    loss = made.loss(data, "generator", 0)
    step = data.clips[:, 1] - data.clips[:, 0]
    off = [data.clips[:, 1] + ahead * step - data.clips[:, 1 + ahead] for ahead in (1, 3)]
    squares = sum(one.square().mean((1, 2, 3)) for one in off)
    torch.testing.assert_close(loss.sums["mse"], squares)
    assert loss.shares == {"mse": 1.0, "l1": 2.0}
    weights = made.weights(data, "generator")
    assert weights.keys() == loss.sums.keys()
    assert weights["mse"].tolist() == [2.0] * 4


def test_what_is_not_given_is_never_shown() -> None:
    made, data = objective(), batch(straight=False)
    made.loss(data, "generator", 0)
    data.clips[:, 2:] = 0.3
    made.loss(data, "generator", 0)
    (before, _), (after, _) = made.generator["network"].calls
    assert torch.equal(before, after)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(before, (data.clips[:, :2] - mean) / std)


def test_a_clips_loss_depends_on_itself_alone() -> None:
    data = replace(batch(straight=False), label=torch.tensor([0, 1, 0, 1]))
    whole = objective(drop=0.3).loss(data, "generator", 0).sums["mse"]
    parts = [
        objective(drop=0.3).loss(data.part(i, i + 1), "generator", 0).sums["mse"] for i in range(4)
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_labels_are_hidden_as_often_as_said_and_never_in_judging() -> None:
    made, data = objective(drop=0.2), batch(count=2000)
    data = replace(data, label=torch.zeros(2000, dtype=torch.long))
    with torch.no_grad():
        made.loss(data, "generator", 0)
        made.held_out(data)
    (_, trained), (_, judged) = made.generator["network"].calls
    assert trained is not None and judged is not None
    assert float((trained == 2).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert not judged.any()


def test_held_out_tells_decibels_beside_those_of_a_standstill() -> None:
    data = batch(straight=False)
    with torch.no_grad():
        loss, figures = objective().held_out(data)
        assert objective().held_out(batch())[1]["psnr"] == pytest.approx(60)
        sums = objective(drop=0).loss(data, "generator", 0).sums["mse"]
    assert loss == pytest.approx(float(sums.sum()) / 12, rel=1e-5)
    still = (data.clips[:, 2:] - data.clips[:, 1:2]).square().mean((2, 3, 4))
    expected = float((10 * torch.log10(4 / still)).mean())
    assert figures["psnr_still"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("frames", [3, 5, 9])
def test_samples_begin_with_what_is_given_and_are_as_long_as_asked(frames: int) -> None:
    data = batch(9)
    with torch.no_grad():
        made = objective().sample(request(data, frames))
    assert torch.equal(made[:, :2], data.clips[:, :2])
    torch.testing.assert_close(made, data.clips[:, :frames], atol=1e-5, rtol=1e-5)


def test_samples_stay_in_range() -> None:
    with torch.no_grad():
        made = objective().sample(request(batch(straight=False), 12))
    assert made.abs().max() <= 1


def test_nothing_is_made_from_nothing() -> None:
    asked = replace(request(batch()), known=None, known_mask=None)
    with pytest.raises(MuybridgeError, match="goes on from 2 frames") as caught:
        objective().sample(asked)
    assert "--prefix" in caught.value.hint


@pytest.mark.parametrize("given", [0, 1, 3])
def test_other_frames_than_the_network_goes_on_from_are_refused(given: int) -> None:
    with pytest.raises(MuybridgeError, match=rf"model.given = 2.*{given} given") as caught:
        objective().loss(batch(given=given), "generator", 0)
    assert "data.tasks.given=2" in caught.value.hint


def test_a_clip_of_which_nothing_is_given_among_others_is_refused() -> None:
    data = batch()
    mask = data.known_mask
    assert mask is not None
    mask = mask.clone()
    mask[2] = 0
    with pytest.raises(MuybridgeError, match="0 given"):
        objective().loss(replace(data, known_mask=mask), "generator", 0)
    with pytest.raises(MuybridgeError, match="none given"):
        objective().loss(replace(data, known=None, known_mask=None), "generator", 0)


def test_clips_shorter_than_what_is_made_at_once_are_refused() -> None:
    with pytest.raises(MuybridgeError, match=r"data.frames = 4.*makes 3") as caught:
        objective().loss(batch(4), "generator", 0)
    assert "model.frames=2" in caught.value.hint
