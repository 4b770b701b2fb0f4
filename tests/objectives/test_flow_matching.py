"""Flow matching against cases whose answer is known in closed form."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.errors import RecipeError
from muybridge.objectives.base import Parts, SampleRequest
from muybridge.objectives.flow_matching import Config, FlowMatching
from muybridge.sampling import integrators

MEAN, STD = [0.1, -0.2, 0.3], [0.5, 0.4, 0.3]


class Perfect(nn.Module):
    """Predicts one clip, whatever it is shown: the right answer where all data are that clip."""

    def __init__(self, clip: Tensor) -> None:
        super().__init__()
        self.config = SimpleNamespace(labels=2)
        self.clip = nn.Parameter(clip)
        self.seen: list[tuple[Tensor, Tensor | None, Tensor | None]] = []

    def forward(
        self,
        x: Tensor,
        level: Tensor,
        times: Tensor,
        label: Tensor | None,
        words: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        self.seen.append((level.flatten(), label, mask))
        return self.clip.expand_as(x)


class Words(nn.Module):
    """A text encoder of one feature: the length of the caption."""

    def tokenize(self, captions: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        tokens = torch.tensor([[len(c)] for c in captions])
        return tokens, tokens > 0

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return tokens[..., None].float()


def objective(text: bool = False, clip: Tensor | None = None, **settings: float) -> FlowMatching:
    clip = torch.zeros(2, 3, 4, 4) if clip is None else clip
    words = Words() if text else None
    parts = Parts(Perfect(clip), words, MEAN, STD, integrators.Config(steps=5))
    return FlowMatching(Config(**settings), parts)


def batch(count: int = 6, clip: Tensor | None = None, **more: object) -> Batch:
    torch.manual_seed(0)
    clips = (
        torch.rand(count, 2, 3, 4, 4) * 2 - 1
        if clip is None
        else clip.expand(count, -1, -1, -1, -1)
    )
    return Batch(
        clips=clips,
        times=torch.arange(2).expand(count, -1) / 8,
        frame_weight=torch.ones(count, 2),
        seeds=torch.tensor([chance.mix(7, i) for i in range(count)]),
        **more,  # type: ignore[arg-type]
    )


def standard(clip: Tensor) -> Tensor:
    return (clip - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def test_a_perfect_network_has_no_loss() -> None:
    clip = torch.rand(2, 3, 4, 4)
    loss = objective(clip=standard(clip)).loss(batch(clip=clip), "generator", 0.5)
    assert loss.sums["velocity"].abs().max() < 1e-8


def test_loss_is_the_squared_error_of_the_velocity() -> None:
    data, level = batch(), torch.tensor([0.3, 0.5, 0.9, 0.2, 0.6, 0.99])
    sums = objective().loss_at(data, level).sums["velocity"]
    clean, noise = standard(data.clips), chance.normal(data.seeds, data.clips.shape[1:], "noise")
    t = level.view(-1, 1, 1, 1, 1)
    velocity = ((1 - t) * clean + t * noise) / t  # what predicting zero for the clip says
    expected = (velocity - (noise - clean)).square().mean((2, 3, 4)).sum(1)
    torch.testing.assert_close(sums, expected, rtol=1e-4, atol=1e-4)


def test_invented_frames_do_not_count() -> None:
    data = batch()
    data.frame_weight[:, 1] = 0
    objective_ = objective()
    before = objective_.loss(data, "generator", 0).sums["velocity"]
    data.clips[:, 1] = 0.77
    torch.testing.assert_close(objective_.loss(data, "generator", 0).sums["velocity"], before)
    assert torch.equal(objective_.weights(data, "generator")["velocity"], torch.ones(6))


def test_chance_belongs_to_the_clip_not_to_its_neighbours() -> None:
    data = batch(label=torch.arange(6) % 2)
    whole = objective().loss(data, "generator", 0).sums["velocity"]
    parts = [
        objective().loss(data.part(i, i + 2), "generator", 0).sums["velocity"] for i in (0, 2, 4)
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_share_of_noise_is_logit_normal() -> None:
    made = objective(time_mean=0.8, time_std=0.7)
    made.loss(batch(4000), "generator", 0)
    logit = torch.logit(made.generator["network"].seen[0][0])
    assert float(logit.mean()) == pytest.approx(0.8, abs=0.05)
    assert float(logit.std()) == pytest.approx(0.7, abs=0.05)


def test_conditions_are_hidden_as_often_as_said() -> None:
    made = objective(text=True, drop=0.2, drop_one=0.3)
    made.loss(
        batch(4000, label=torch.zeros(4000, dtype=torch.long), text=("words",) * 4000),
        "generator",
        0,
    )
    _, label, mask = made.generator["network"].seen[0]
    assert label is not None
    assert mask is not None
    no_label, no_text = label == 2, ~mask[:, 0]
    for share, expected in (
        (no_label & no_text, 0.2), (no_label & ~no_text, 0.3),
        (~no_label & no_text, 0.3), (~no_label & ~no_text, 0.2),
    ):  # fmt: skip
        assert float(share.float().mean()) == pytest.approx(expected, abs=0.03)


def test_text_alone_is_dropped_only_for_guidance() -> None:
    made = objective(text=True, drop=0.1, drop_one=0.4)
    made.loss(batch(4000, text=("words",) * 4000), "generator", 0)
    mask = made.generator["network"].seen[0][2]
    assert mask is not None
    assert float((~mask).float().mean()) == pytest.approx(0.1, abs=0.02)


def request(count: int = 3, **more: object) -> SampleRequest:
    seeds = torch.tensor([chance.mix(1, i) for i in range(count)])
    return SampleRequest(torch.arange(2).expand(count, -1) / 8, (4, 4), seeds, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_sampling_a_perfect_network_gives_its_clip(guidance: float) -> None:
    clip = torch.rand(2, 3, 4, 4) * 1.8 - 0.9
    with torch.no_grad():
        made = objective(clip=standard(clip)).sample(
            request(guidance=guidance, label=torch.tensor([0, 1, 0]))
        )
    torch.testing.assert_close(made, clip.expand(3, -1, -1, -1, -1), atol=1e-4, rtol=1e-4)


def test_guidance_shows_the_network_both_branches_at_once() -> None:
    made = objective(text=True)
    with torch.no_grad():
        made.sample(
            request(guidance=2.0, steps=4, label=torch.tensor([0, 1, 0]), text=("a", "b", "c"))
        )
    seen = made.generator["network"].seen
    assert len(seen) == 4
    _, label, mask = seen[0]
    assert label is not None
    assert mask is not None
    assert label.tolist() == [0, 1, 0, 2, 2, 2]
    assert mask[:, 0].tolist() == [True] * 3 + [False] * 3


def test_guidance_is_used_between_its_limits_only() -> None:
    made = objective()
    made.sampling = made.sampling.with_values(guided=(0.5, 0.9), shift=1.0)
    with torch.no_grad():
        made.sample(request(guidance=2.0, steps=5, label=torch.tensor([0, 1, 0])))
    seen = made.generator["network"].seen
    assert [round(float(level[0]), 1) for level, _, _ in seen] == [1.0, 0.8, 0.6, 0.4, 0.2]
    assert [len(level) for level, _, _ in seen] == [3, 6, 6, 3, 3]


def test_noise_is_spread_evenly_over_the_clips_of_a_run() -> None:
    made = objective(time_mean=0.8, time_std=0.7)
    ordered = torch.arange(1000, 1016)
    made.loss(batch(16, index=ordered), "generator", 0)
    level = made.generator["network"].seen[0][0]
    quantile = torch.special.ndtr((torch.logit(level) - 0.8) / 0.7)
    counts = torch.histc(quantile, 4, 0, 1)
    assert ((counts >= 3) & (counts <= 5)).all()
    # The same, whatever part of a batch a process or a micro-batch takes.
    made.loss(batch(16, index=ordered).part(8, 16), "generator", 0)
    torch.testing.assert_close(made.generator["network"].seen[1][0], level[8:])


def test_without_conditions_or_guidance_there_is_one_branch() -> None:
    for asked in (request(guidance=5.0), request(guidance=1.0, label=torch.tensor([0, 1, 0]))):
        made = objective()
        with torch.no_grad():
            made.sample(asked)
        assert len(made.generator["network"].seen[0][0]) == 3


def test_a_sample_depends_on_its_own_seed_alone() -> None:
    class Shrink(Perfect):
        def forward(self, x: Tensor, *rest: object) -> Tensor:  # type: ignore[override]
            return x * 0.5

    parts = Parts(Shrink(torch.zeros(1)), None, MEAN, STD, integrators.Config(steps=3))
    made = FlowMatching(Config(), parts)
    with torch.no_grad():
        torch.testing.assert_close(made.sample(request(3))[2:], made.sample(request(3).part(2, 3)))


def test_held_out_loss_is_the_same_each_time_and_told_by_noise() -> None:
    made, data = objective(), batch(8)
    with torch.no_grad():
        loss, more = made.held_out(data)
        assert made.held_out(data)[0] == loss
    assert len(more["by_time"]) == 4
    assert sum(more["by_time"].values()) / 4 == pytest.approx(loss, rel=1e-5)


def test_frames_that_are_given_are_refused_and_not_passed_over() -> None:
    data = batch(2, known=torch.zeros(2, 2, 3, 4, 4), known_mask=torch.ones(2, 2, 1, 4, 4))
    with pytest.raises(RecipeError, match="was not trained to look at it"):
        objective().loss(data, "generator", 0.5)
    data = batch(2, guides={"sketch": torch.ones(2, 2, 2, 4, 4)})
    with pytest.raises(RecipeError, match="sketch: given"):
        objective().loss(data, "generator", 0.5)


class Looking(Perfect):
    """As `Perfect`, and keeps what it is shown."""

    def __init__(self, clip: Tensor) -> None:
        super().__init__(clip)
        self.config = SimpleNamespace(labels=2, guides=("known", "sketch"), patch=(2, 2, 2))
        self.shown: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, *told: Tensor | None, **more: Tensor) -> Tensor:  # type: ignore[override]
        self.shown.append((x, more["beside"], more["clean"]))
        return super().forward(x, *told)  # type: ignore[arg-type]


def looking(clip: Tensor, **settings: float) -> FlowMatching:
    parts = Parts(Looking(clip), None, MEAN, STD, integrators.Config(steps=5))
    return FlowMatching(Config(**settings), parts)


def given(count: int = 4) -> tuple[Batch, Tensor]:
    """Clips of which the upper rows of all frames are known, and that mask."""
    mask = torch.zeros(count, 2, 1, 4, 4)
    mask[..., :2, :] = 1
    data = batch(count)
    sketch = torch.zeros(count, 2, 2, 4, 4)
    sketch[0] = 1
    return replace(data, known=data.clips, known_mask=mask, guides={"sketch": sketch}), mask


def test_what_is_known_is_shown_clean_and_counts_in_no_loss() -> None:
    data, mask = given()
    made = looking(torch.zeros(2, 3, 4, 4))
    loss = made.loss(data, "generator", 0.5)
    x, beside, clean = made.generator["network"].shown[0]
    seen = mask.expand_as(x) > 0
    torch.testing.assert_close(x[seen], standard(data.clips)[seen])
    assert (x[~seen] - standard(data.clips)[~seen]).abs().mean() > 0.1
    assert torch.equal(beside[:, :, :1], mask)
    assert torch.equal(beside[:, :, 1:], data.guides["sketch"])
    assert clean[:, 0].tolist() == [[[True, True], [False, False]]] * 4
    torch.testing.assert_close(made.weights(data, "generator")["velocity"], torch.ones(4))
    other = torch.where(mask > 0, data.clips + 0.3, data.clips)
    changed = replace(data, clips=other, known=other)
    torch.testing.assert_close(
        made.loss(changed, "generator", 0.5).sums["velocity"], loss.sums["velocity"]
    )


def test_what_is_known_comes_back_and_is_seen_clean_at_each_step() -> None:
    data, mask = given()
    made = looking(torch.full((2, 3, 4, 4), 0.2))
    asked = request(4, known=data.known, known_mask=mask, guides=data.guides)
    with torch.no_grad():
        clips = made.sample(replace(asked, label=torch.tensor([0, 1, 0, 1]), guidance=2.0))
    seen = mask.expand_as(clips) > 0
    torch.testing.assert_close(clips[seen], data.clips[seen], atol=1e-5, rtol=1e-4)
    network = made.generator["network"]
    assert len(network.shown) == 5
    for x, beside, _ in network.shown:
        assert torch.equal(beside[:4], beside[4:])  # both branches of guidance see what is given
        torch.testing.assert_close(x[:4][seen], standard(data.clips)[seen])
