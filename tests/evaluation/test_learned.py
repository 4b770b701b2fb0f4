from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muybridge.core.errors import DataError, MuybridgeError
from muybridge.evaluation import distances, learned
from muybridge.models import encoder3d

ENCODER = encoder3d.Config(widths=(8, 12), cells=4)
TINY = learned.Config(features=8, encoder=ENCODER, steps=3, batch=4)


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone(squares: Any) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = learned.train(squares()("train"), TINY)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    second = learned.train(squares()("train"), TINY)
    other = learned.train(squares()("train"), TINY.with_values(seed=1))
    assert first.digest == second.digest != other.digest
    assert not first.network.training


def test_features_are_standardised_and_do_not_depend_on_chunks(
    squares: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = squares()
    made = learned.train(load("train"), TINY)
    clips = load("train").fixed(96).clips
    features = made.features(clips)
    assert features.dtype == np.float64
    assert features.shape == (96, 8)
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(features.std(0, ddof=1), 1, atol=1e-3)
    order = np.random.default_rng(0).permutation(96)
    np.testing.assert_allclose(made.features(clips[order]), features[order], atol=2e-5)
    monkeypatch.setattr(learned, "_TOGETHER", 5)
    np.testing.assert_allclose(made.features(clips), features, atol=2e-5)
    assert made.features(clips[:0]).shape == (0, 8)


def test_training_teaches_flaws_footage_and_the_direction_of_time(squares: Any) -> None:
    load = squares(forbidden="")
    config = TINY.with_values(steps=80, batch=12, features=16)
    made = learned.train(load("train"), config, load("validation"))
    curves = made.facts["curves"]
    assert [point["step"] for point in curves] == [8.0 * i for i in range(1, 11)]
    assert curves[-1]["flaws"] < 0.85 * curves[0]["flaws"]
    assert curves[-1]["footage"] < 0.85 * curves[0]["footage"]
    assert curves[-1]["held-out footage"] < np.log(15)  # chance
    real = load("test").fixed(16).clips
    with torch.no_grad():
        told = made.network.flaws(made.network(torch.cat([real, real.flip(1)])))
    backwards = told[:, learned._TASKS.index("reversal")]
    assert float((backwards[16:, None] > backwards[:16]).float().mean()) > 0.9
    # What the distance is for: real clips backwards, or with every frame the first, are far off.
    reference, floor = made.features(load("train").fixed(48).clips), made.features(real)
    least = distances.distance(floor, reference)
    for bad in (real.flip(1), real[:, :1].expand_as(real)):
        assert distances.distance(made.features(bad), reference) > 2 * least


def test_only_the_given_splits_are_read(squares: Any) -> None:
    load = squares(forbidden="test")
    learned.train(load("train"), TINY, load("validation"))
    with pytest.raises(AssertionError, match="test split was read"):
        load("test").fixed(1)


def test_few_clips_are_refused_with_the_count(squares: Any) -> None:
    with pytest.raises(DataError, match=r"16 .*train split has 15"):
        learned.train(squares(train=15)("train"), TINY)


def test_clips_too_short_are_refused(squares: Any) -> None:
    load = squares()
    made = learned.train(load("train"), TINY)
    with pytest.raises(MuybridgeError, match="3"):
        made.features(load("train").fixed(2).clips[:, :3])


def test_other_rates_are_told_as_speed(squares: Any) -> None:
    loader = squares()("train")
    twice = type(loader)(loader.dataset, "train", loader.config.with_values(fps=4, frames=4))
    windows = learned.Windows(twice)
    assert [speed for speed, _ in windows.loaders] == [1.0, 0.5, 0.67, 1.33]
    told = [windows._window(0, seed)[1][-1].item() for seed in range(200)]
    assert {round(one, 2) for one in told} == {0.0, -1.0, -0.58, 0.41}


def test_pairs_show_the_same_clips_at_two_moments(squares: Any) -> None:
    windows = learned.Windows(squares()("train"))
    pairs = windows.pairs(torch.tensor([5, 2, 9]), 0, 7)
    assert pairs.groups.tolist() == [5, 2, 9, 5, 2, 9]
    assert pairs.clips.shape == (6, 8, 3, 24, 24)
    assert not torch.equal(pairs.clips[:3], pairs.clips[3:])
    again = windows.pairs(torch.tensor([5, 2, 9]), 0, 7)
    assert torch.equal(again.clips, pairs.clips)
    assert not torch.equal(windows.pairs(torch.tensor([5, 2, 9]), 0, 8).clips, pairs.clips)


def test_an_epoch_has_no_clip_twice(squares: Any) -> None:
    order = list(learned._order(24, TINY.with_values(steps=12, batch=4)))
    for epoch in (order[:6], order[6:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(24))
    assert not torch.equal(torch.cat(order[:6]), torch.cat(order[6:]))


def test_kept_weights_are_read_again_and_damaged_ones_made_anew(
    squares: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    loader = squares()("train")
    first = learned.cached(tmp_path, loader, TINY)
    (folder,) = tmp_path.iterdir()
    clips = loader.fixed(5).clips
    with monkeypatch.context() as patch:
        patch.setattr(learned, "train", None)
        second = learned.cached(tmp_path, loader, TINY)
        with pytest.raises(TypeError):
            learned.cached(tmp_path, squares(digest="two")("train"), TINY)
        with pytest.raises(TypeError):
            learned.cached(tmp_path, loader, TINY.with_values(seed=9))
    assert second.digest == first.digest
    assert second.facts == first.facts
    np.testing.assert_array_equal(second.features(clips), first.features(clips))
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 8
    path.write_bytes(content)
    third = learned.cached(tmp_path, loader, TINY)
    assert "damaged" in capsys.readouterr().err
    assert third.digest == first.digest
