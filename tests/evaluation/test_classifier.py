from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muybridge.core.errors import DataError, MuybridgeError
from muybridge.data.loader import Loader
from muybridge.evaluation import classifier
from muybridge.models import encoder3d

ENCODER = encoder3d.Config(widths=(4, 6), cells=4)
TINY = classifier.Config(encoder=ENCODER, steps=4, batch=6, validations=2)
LONGER = TINY.with_values(steps=40, batch=12, validations=4, learning_rate=0.01)


def trained(load: Any, config: classifier.Config = TINY) -> classifier.Classifier:
    return classifier.train(load("train"), load("validation"), config)


def test_it_tells_held_out_clips_and_keeps_its_curves(squares: Any) -> None:
    load = squares(forbidden="")
    made = trained(load, LONGER)
    batch = load("test").fixed(16)
    probabilities = made.predict(batch.clips)
    assert made.labels == ("blink", "walk")
    assert probabilities.shape == (16, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-9)
    assert classifier.accuracy(probabilities, batch.label.numpy()).mean() >= 0.9
    assert [step for step, _, _ in made.curves] == [10, 20, 30, 40]
    assert all(0 <= share <= 1 for _, *shares in made.curves for share in shares)
    assert made.curves[-1][2] >= 0.9
    assert not made.network.training


def test_it_tells_objects_each_by_itself(squares: Any) -> None:
    load = squares(forbidden="", objects=True)
    made = trained(load, LONGER.with_values(of="objects", steps=60))
    batch = load("test").fixed(16)
    probabilities = made.predict(batch.clips)
    assert made.labels == ("blue", "red")
    assert classifier.accuracy(probabilities, batch.objects.numpy()).mean() >= 0.9
    assert not np.allclose(probabilities.sum(1), 1)


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone(squares: Any) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = trained(squares())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    second, other = trained(squares()), trained(squares(), TINY.with_values(seed=1))
    assert first.digest == second.digest != other.digest
    assert first.curves == second.curves


def test_predictions_do_not_depend_on_chunks(squares: Any, monkeypatch: Any) -> None:
    load = squares()
    made, clips = trained(load), load("train").fixed(40).clips
    found = made.predict(clips)
    monkeypatch.setattr(classifier, "_TOGETHER", 7)
    np.testing.assert_allclose(made.predict(clips), found, atol=1e-5)
    np.testing.assert_allclose(made.predict(clips[3:5]), found[3:5], atol=1e-5)
    assert made.predict(clips[:0]).shape == (0, 2)
    with pytest.raises(MuybridgeError, match="3"):
        made.predict(clips[:, :3])


def test_the_best_step_by_validation_is_kept(squares: Any, monkeypatch: Any) -> None:
    load = squares()
    early = trained(load, TINY.with_values(steps=2, validations=1))
    # Validation clips get harder and harder to tell: the first of four moments is the best.
    true, turn = classifier._loss, iter(range(100))

    def worse(logits: Any, truth: Any, smoothing: float) -> Any:
        return true(logits, truth, smoothing) + (next(turn) if smoothing == 0 else 0)

    with monkeypatch.context() as patch:
        patch.setattr(classifier, "_loss", worse)
        patch.setattr(classifier, "_fitting", lambda *_: 1.0)
        kept = trained(load, TINY.with_values(steps=8, validations=4))
    assert kept.facts["best_step"] == 2
    assert early.facts["best_step"] == 2
    assert [step for step, _, _ in kept.curves] == [2, 4, 6, 8]


def test_the_temperature_is_the_one_that_fits(squares: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 3, generator=generator) * 2
    truth = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    for factor in (0.5, 1.0, 4.0):
        assert classifier._fitting(logits * factor, truth, 10**6) == pytest.approx(factor, rel=0.1)
    objects = torch.bernoulli(logits.sigmoid(), generator=generator)
    assert classifier._fitting(logits * 2, objects, 10**6) == pytest.approx(2, rel=0.1)
    # All right, by far: as sure as eight clips allow, and no surer.
    sure = 20 * torch.nn.functional.one_hot(truth[:64], 3).float()
    surest = (sure / classifier._fitting(sure, truth[:64], 8)).softmax(1).max(1).values
    assert 0.85 < float(surest.mean()) < 0.97
    made = trained(squares())
    clips = squares()("train").fixed(4).clips
    made.network.temperature.fill_(1.0)
    sharp = made.predict(clips)
    made.network.temperature.fill_(2.0)
    np.testing.assert_allclose(
        np.log(made.predict(clips) / made.predict(clips)[:, :1]),
        np.log(sharp / sharp[:, :1]) / 2,
        atol=1e-6,
    )


def test_accuracy_by_hand() -> None:
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]])
    assert classifier.accuracy(probabilities, np.array([0, 0, 0])).tolist() == [1, 0, 1]
    truth = np.array([[1.0, 0], [1, 1], [0, 1]])
    assert classifier.accuracy(probabilities, truth).tolist() == [1, 0.5, 0]


def test_clips_without_a_label_are_passed_over() -> None:
    batch_like = torch.arange(3)
    truth = torch.tensor([1, 2, 0])

    class Batch:
        clips, label, objects = batch_like, truth, None

    clips, told = classifier._told(Batch, TINY, 2)  # type: ignore[arg-type]
    assert clips.tolist() == [0, 2]
    assert told.tolist() == [1, 0]


def test_mirrored_clips_bear_the_mirrored_label(squares: Any, monkeypatch: Any) -> None:
    """Variation is the loader's, which knows which words name a side."""
    seen = []
    true = Loader.batch

    def spy(self: Loader, *given: Any) -> Any:
        seen.append((self.split, self.config.augment.flip))
        return true(self, *given)

    monkeypatch.setattr(Loader, "batch", spy)
    trained(squares())
    assert seen == [("train", 0.5)] * 4


def test_only_the_given_splits_are_read(squares: Any) -> None:
    load = squares(forbidden="test")
    trained(load)
    with pytest.raises(AssertionError, match="test split was read"):
        load("test").fixed(1)


def test_data_without_labels_is_refused(squares: Any) -> None:
    with pytest.raises(DataError, match="label"):
        trained(squares(labelled=False))
    with pytest.raises(DataError, match="objects"):
        trained(squares(), TINY.with_values(of="objects"))


def test_kept_weights_are_read_again_and_damaged_ones_made_anew(
    squares: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    load = squares()

    def cached(load: Any, config: classifier.Config = TINY) -> classifier.Classifier:
        return classifier.cached(tmp_path, load("train"), load("validation"), config)

    first = cached(load)
    (folder,) = tmp_path.iterdir()
    clips = load("train").fixed(5).clips
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "train", None)
        second = cached(load)
        for other in (squares(digest="two"), squares()):
            config = TINY if other("train").dataset.facts["digest"] == "two" else LONGER
            with pytest.raises(TypeError):
                cached(other, config)
    assert (second.digest, second.labels) == (first.digest, first.labels)
    assert (second.curves, second.facts) == (first.curves, first.facts)
    np.testing.assert_array_equal(second.predict(clips), first.predict(clips))
    (folder / "facts.json").write_text("{}")
    assert cached(load).digest == first.digest
    assert "damaged" in capsys.readouterr().err
