from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from muybridge.core.errors import MuybridgeError
from muybridge.evaluation.manifest import Score, comparable, unlike


def score(name: str = "motion distance", value: float = 1.0, **manifest: Any) -> Score:
    return Score(name, value, "lower", manifest)


def test_numbers_made_alike_are_comparable() -> None:
    one = score(value=1.0, frames=16, fps=8.0, run="first", checkpoint="last", checkpoint_step=10)
    comparable(one, score(value=2.0, frames=16, fps=8.0, run="second", checkpoint="best"))


def test_numbers_made_otherwise_are_refused_with_all_that_differs() -> None:
    one, other = score(frames=16, fps=8.0, size=[64, 64]), score(frames=24, fps=8.0, split="test")
    with pytest.raises(MuybridgeError) as caught:
        comparable(one, other)
    message = caught.value.message
    for told in (
        "motion distance", "frames is 16 and 24", "size is [64, 64] and absent",
        "split is absent and test",
    ):  # fmt: skip
        assert told in message
    assert "fps" not in message
    assert caught.value.hint


def test_different_measures_are_refused() -> None:
    with pytest.raises(MuybridgeError) as caught:
        comparable(score("motion distance"), score("appearance distance"))
    assert "motion distance" in caught.value.message
    assert "appearance distance" in caught.value.message


def test_fields_within_fields_are_named() -> None:
    one, other = (score(resize={"filter": kind, "size": 224}) for kind in ("area", "cubic"))
    with pytest.raises(MuybridgeError, match=r"resize\.filter is area and cubic"):
        comparable(one, other)


def test_scores_that_are_read_otherwise_are_refused() -> None:
    one = score(frames=16)
    for other in (replace(one, better="near", target=2.0), replace(one, unit="%")):
        with pytest.raises(MuybridgeError):
            comparable(one, other)
    assert unlike(one, replace(one, better="near", target=2.0)) == [
        ("better", "lower", "near"), ("target", "null", "2"),
    ]  # fmt: skip


def test_without_a_manifest_nothing_is_compared() -> None:
    with pytest.raises(MuybridgeError, match="no manifest"):
        comparable(score(), score())


def test_a_score_goes_to_json_whole() -> None:
    made = Score(
        "copies", 3.5, "near", {"frames": 16}, interval=(1.0, 4.0), floor=2.0, target=0.0, unit="%",
        note="a note", interval_of="other clips", values=(3.0, 4.0),
    )  # fmt: skip
    plain = json.loads(json.dumps(made.as_json()))
    assert plain == {
        "name": "copies", "value": 3.5, "better": "near", "manifest": {"frames": 16},
        "interval": [1.0, 4.0], "floor": 2.0, "target": 0.0, "unit": "%", "note": "a note",
        "interval_of": "other clips", "values": [3.0, 4.0],
    }  # fmt: skip
