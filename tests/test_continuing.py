"""Continuations of held-out clips: what is scored, and beside what."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import muybridge as mb
from muybridge import continuing
from muybridge.core import measures
from muybridge.core.errors import MuybridgeError
from muybridge.data.prepare import Config
from muybridge.data.store import Dataset
from muybridge.evaluation import clip_sets, suite
from muybridge.objectives.base import Objective, SampleRequest

SMALL = (
    "data.size=[32,32]", "data.frames=8", "training.batch=4", "training.minutes=null",
    "training.steps=2", "training.validations=1", "training.previews=1",
    "training.precision=fp32", "training.threads=1", "training.loggers=[]",
    "evaluation.held_out=4", "model.size=nano", "data.tasks={prefix: 0.5, given: 3}",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    folder = tmp_path_factory.mktemp("data")
    mb.make_stage(folder / "footage", 24, size=(32, 32), fps=8)
    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    recipe = mb.Recipe.load("gru", SMALL).with_(data=folder / "dataset")
    return recipe.train(folder / "run")


def real(run: mb.Run) -> clip_sets.ClipSet:
    test = run.loader(Dataset.open(run.recipe.data.folder), "test")
    return clip_sets.of_split(test, 6, "real")


class Oracle(Objective):
    """Goes on as the clip does, with noise of its seed."""

    def __init__(self, clips: Tensor, spread: float) -> None:
        super().__init__()
        self.clips, self.spread, self.asked = clips, spread, list[SampleRequest]()

    def weights(self, *given: object) -> dict[str, Tensor]:
        raise NotImplementedError

    def loss(self, *given: object) -> dict[str, Tensor]:  # type: ignore[override]
        raise NotImplementedError

    def sample(self, request: SampleRequest) -> Tensor:
        self.asked.append(request)
        assert request.known is not None and request.known_mask is not None
        side = 1 - 2 * (request.seeds % 2).float().view(-1, 1, 1, 1, 1)
        made = self.clips[: len(request)] + self.spread * side
        return torch.where(request.known_mask > 0, request.known, made)


def judged(
    run: mb.Run, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[continuing.Score], list[dict[str, object]]]:
    position = run.trained()[1]
    monkeypatch.setattr(mb.Run, "trained", lambda self, name="last": (oracle, position))
    return continuing.continuation(run, real(run), suite.Config(), "last")


def test_frames_that_were_given_are_the_clips_own_and_are_not_scored(
    run: mb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = real(run).read(0, 6)
    oracle = Oracle(clips, 0.1)
    (psnr, ssim), curves = judged(run, oracle, monkeypatch)
    for request in oracle.asked:
        assert request.known is not None and request.known_mask is not None
        assert request.known_mask[:, :3].min() == 1
        assert request.known_mask[:, 3:].max() == 0
        torch.testing.assert_close(request.known[:, :3], clips[:, :3])
        assert float(request.known[:, 3:].abs().max()) == 0
    # An error of .1 all over the frame, whichever its side: 10 log10(4 / .01).
    assert psnr.value == pytest.approx(26.02, abs=0.01)
    assert psnr.manifest["conditioning_frames"] == 3
    still = clips[:, 2:3].expand_as(clips)
    want = measures.psnr(still[:, 3:].flatten(0, 1).double(), clips[:, 3:].flatten(0, 1).double())
    assert psnr.floor == pytest.approx(float(want.mean()), rel=1e-6)
    assert ssim.name == "SSIM of continuations"
    lines = curves[0]["lines"]
    assert [len(line["x"]) for line in lines] == [5, 5]  # type: ignore[index, attr-defined]


def test_of_several_draws_the_mean_counts(run: mb.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = real(run).read(0, 6)

    class Half(Oracle):
        def sample(self, request: SampleRequest) -> Tensor:
            self.spread = 0.1 if len(self.asked) % 2 else 0.2
            return super().sample(request)

    psnr = judged(run, Half(clips, 0.0), monkeypatch)[0][0]
    both = [10 * np.log10(4 / error**2) for error in (0.1, 0.2)]
    assert psnr.value == pytest.approx(np.mean(both), abs=0.01)


def test_evaluate_has_it_for_a_predictor_and_says_where_it_has_no_meaning(
    run: mb.Run, tmp_path: Path
) -> None:
    found = run.evaluate(metrics=["prediction"], samples=4)
    names = [score["name"] for score in found["scores"]]
    assert names == ["PSNR of continuations", "SSIM of continuations"]
    assert [c["title"] for c in found["curves"] if "continuations" in c["title"]] == names
    data = run.recipe.data.with_values(tasks={"prefix": 0.0})
    plain = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, data=data))
    assert not continuing.can_continue(plain)


def test_what_trains_does_not_measure_it(run: mb.Run) -> None:
    with pytest.raises(MuybridgeError, match="prediction is not measured while training"):
        mb.Recipe.load("gru", ("evaluation.during=[prediction]",))
