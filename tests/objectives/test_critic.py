"""A discriminator beside other losses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import muybridge as mb
from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.errors import RecipeError
from muybridge.models import convrnn, gan3d, simvp, vae
from muybridge.objectives import autoencoder, critic, losses, prediction, recurrent
from muybridge.objectives.base import Loss, Objective, Parts
from muybridge.sampling import integrators

MEAN, STD = [0.1, -0.2, 0.3], [0.5, 0.4, 0.3]
PIXELS = losses.Config(mse=1.0, adversarial=0.5)
FRAMES, SIDE, GIVEN = 8, 16, 4


def discriminator() -> gan3d.Gan:
    torch.manual_seed(1)
    shape = gan3d.Config(widths=(16, 8), fold=(1, 2, 2), latent=8, text=None)
    return gan3d.build(shape)


def of_autoencoder() -> Objective:
    network = vae.build(vae.Config(**{**vae.SIZES["nano"], "prior": None, "text": None}))
    parts = Parts(network, None, MEAN, STD, integrators.Config(), critic=discriminator())
    return autoencoder.build(autoencoder.Config(pixels=PIXELS), parts)


def of_prediction() -> Objective:
    shape = {**simvp.SIZES["nano"], "given": GIVEN, "frames": FRAMES - GIVEN, "text": None}
    parts = Parts(
        simvp.build(simvp.Config(**shape)), None, MEAN, STD, mb.Recipe.load("simvp").sampling,
        critic=discriminator(),
    )  # fmt: skip
    return prediction.build(prediction.Config(pixels=PIXELS), parts)


def of_recurrent() -> Objective:
    shape = convrnn.Config(widths=(4, 6, 8), latents=(1, 2, 4), fold=2, text=None)
    network, sampling = convrnn.build(shape), recurrent.Sampling()
    parts = Parts(network, None, MEAN, STD, sampling, critic=discriminator())
    return recurrent.build(recurrent.Config(pixels=PIXELS, window=4), parts)


ALL = {"codec": of_autoencoder, "prediction": of_prediction, "recurrent": of_recurrent}


def objective(name: str) -> tuple[Objective, str]:
    """One of those that can have a critic, and the name of its own phase; branches that begin at
    zero are seen to do something."""
    torch.manual_seed(0)
    made = ALL[name]()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made, made.phases()[0].name


def batch(count: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(count, FRAMES, 3, SIDE, SIDE, generator=generator) * 2 - 1
    mask = torch.zeros(count, FRAMES, 1, SIDE, SIDE)
    mask[:, :GIVEN] = 1
    return Batch(
        clips=clips,
        times=torch.arange(FRAMES).expand(count, -1) / 8,
        frame_weight=torch.ones(count, FRAMES),
        seeds=torch.tensor([chance.mix(7, i) for i in range(count)]),
        known=clips * mask,
        known_mask=mask,
    )


def sums(made: Objective, data: Batch, phase: str) -> dict[str, Tensor]:
    loss = made.loss(data, phase, 0.5)
    parts = [loss] if isinstance(loss, Loss) else list(loss)
    return {name: sum(part.sums[name] for part in parts) for name in parts[0].sums}


@pytest.mark.parametrize("name", ALL)
def test_each_side_learns_from_its_own_phase_alone(name: str) -> None:
    made, own = objective(name)
    for phase, others in ((own, "critic."), ("critic", "generator.")):
        made.zero_grad()
        terms = sums(made, batch(), phase)
        sum(term.sum() for term in terms.values()).backward()
        reached = {n for n, p in made.named_parameters() if p.grad is not None and p.grad.any()}
        assert reached
        assert not [n for n in reached if n.startswith(others)]
    held = {n for phase in made.phases() for n in phase.parameters}
    assert len(held) == sum(len(phase.parameters) for phase in made.phases())


@pytest.mark.parametrize("name", ALL)
def test_the_part_reaches_what_makes_clips(name: str) -> None:
    made, own = objective(name)
    sums(made, batch(), own)["adversarial"].sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in made.generator.parameters())


@pytest.mark.parametrize("name", ALL)
def test_a_clips_terms_are_its_own_and_have_their_weights(name: str) -> None:
    made, own = objective(name)
    data = batch()
    for phase in (own, "critic"):
        whole, alone = sums(made, data, phase), sums(made, data.part(1, 2), phase)
        assert whole.keys() == made.weights(data, phase).keys()
        for term in whole:
            torch.testing.assert_close(whole[term][1:2], alone[term], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_what_is_judged_on_held_out_clips_does_not_move_with_the_critic(name: str) -> None:
    made, _ = objective(name)
    with torch.no_grad():
        first = made.held_out(batch())[0]
        for parameter in made.get_submodule("critic").parameters():
            parameter.add_(torch.randn_like(parameter))
        assert made.held_out(batch())[0] == first


def test_invented_frames_are_not_looked_at() -> None:
    judge = critic.Critic(discriminator(), MEAN, STD)
    data = batch()
    data.frame_weight[:, 3] = 0
    made = data.clips.flip(0)
    other = made.clone()
    other[:, 3] = 0.7
    torch.testing.assert_close(judge.against(made, data), judge.against(other, data))
    other[:, 4] = 0.7
    assert (judge.against(made, data) - judge.against(other, data)).abs().min() > 0


def test_the_penalty_of_a_linear_judge_is_its_weight_squared() -> None:
    weight = torch.randn(2, 3, 4, 4)
    real, made = torch.randn(2, 5, 2, 3, 4, 4)
    terms = critic.told_apart(lambda clips: (clips * weight).sum((1, 2, 3, 4)), real, made)
    expected = weight.square().sum().expand(5)
    torch.testing.assert_close(terms["r1"], expected)
    torch.testing.assert_close(terms["r2"], expected)
    ahead = ((made - real) * weight).sum((1, 2, 3, 4))
    torch.testing.assert_close(terms["pairs"], (1 + ahead.exp()).log())


def test_it_learns_what_sets_made_clips_apart_and_shows_the_way_back() -> None:
    """A critic of clips with a tint takes tinted ones for made, the more the stronger."""
    judge = critic.Critic(discriminator(), MEAN, STD)
    optimizer = torch.optim.Adam(judge.parameters(), 0.003, betas=(0.0, 0.99))
    tint = torch.tensor([0.3, -0.3, 0.3]).view(1, 1, 3, 1, 1)
    for step in range(25):
        generator = torch.Generator().manual_seed(step)
        clips = torch.rand(8, FRAMES, 3, SIDE, SIDE, generator=generator) - 0.5
        data = dataclasses.replace(
            batch(8), clips=clips, known=None, known_mask=None,
        )  # fmt: skip
        loss = judge.loss(clips + tint, data)
        optimizer.zero_grad()
        sum(loss.shares.get(n, 1.0) * s.mean() for n, s in loss.sums.items()).backward()
        optimizer.step()
    with torch.no_grad():
        told = [float(judge.against(clips + k * tint, data).mean()) for k in (0.0, 0.5, 1.0)]
    assert told[0] < told[1] < told[2]
    made = (clips + tint).requires_grad_()
    judge.against(made, data).sum().backward()
    assert made.grad is not None
    assert float((made.grad * tint).sum()) > 0  # less of the tint looks more real


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("objective.pixels.adversarial=0.1",), "no critic"),
        (("critic={kind: gan3d, size: nano}",), "does not ask it"),
        (("critic=gan3d",), "a section of settings"),
    ],
)
def test_a_critic_and_the_part_that_asks_it_need_each_other(
    changes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        mb.Recipe.load("simvp", changes)
    with pytest.raises(RecipeError, match="does not ask it"):
        mb.Recipe.load("flow-small", ("critic={kind: gan3d, size: nano}",))


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (
            "simvp",
            ("data.frames=18", "model.frames=14", "critic={kind: gan3d, size: nano}",
             "objective.pixels.adversarial=0.1"),
            "data.frames = 18 is not a multiple of the critic's 4",
        ),
        ("vae", ("data.tasks.prefix=0.5",), "an autoencoder takes clips whole"),
        ("gan3d", ("data.tasks.prefix=0.5", "data.tasks.given=1"), "set model.picture=true"),
        ("vae", ("data.size=[8,8]", "objective.pixels.motion=1"), "too few for optical flow"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_first_step_is_told_before(
    recipe: str, changes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        mb.Recipe.load(recipe, changes)
    assert message in f"{caught.value} {caught.value.hint}"


def test_a_critic_of_ones_own_need_not_know_what_it_is_never_told(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(
        "from muybridge.core.config import Section\n\n\nclass Config(Section):\n"
        '    """Nothing but a width."""\n\n    width: int = 4\n    """Channels."""\n\n\n'
        "def build(config):\n    raise NotImplementedError\n"
    )
    given = (f"critic={{kind: {tmp_path / 'judge.py'}}}", "objective.pixels.adversarial=0.1")
    made = mb.Recipe.load("vae", given)
    assert made.critic is not None and made.critic.config.model_dump() == {"width": 4}


def test_a_recipe_keeps_its_critic() -> None:
    given: Any = ("critic={kind: gan3d, size: nano}", "objective.pixels.adversarial=0.1")
    recipe = mb.Recipe.load("vae", given)
    assert recipe.critic is not None
    assert recipe.critic.config.text is None  # it is told nothing
    assert mb.Recipe.from_tree(recipe.tree()) == recipe
