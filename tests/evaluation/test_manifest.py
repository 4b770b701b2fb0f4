from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.errors import MuybridgeError
from muybridge.evaluation.manifest import Score, comparable, differing

VALUES = st.none() | st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2)
MANIFESTS = st.dictionaries(
    st.sampled_from(["frames", "fps", "split", "seed", "run", "run_sampling", "checkpoint"]), VALUES
)


@given(MANIFESTS, MANIFESTS)
def test_fields_differ_where_values_do(first: dict[str, Any], second: dict[str, Any]) -> None:
    judged = {"frames", "fps", "split", "seed"}
    expected = [name for name in sorted(judged) if first.get(name) != second.get(name)]
    assert differing(first, second) == expected
    assert differing(second, first) == expected
    assert differing(first, first) == []


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
    for told in ("motion distance", "frames is 16 and 24", "size is [64, 64] and None", "'test'"):
        assert told in message
    assert "fps" not in message
    assert caught.value.hint


def test_different_measures_are_refused() -> None:
    with pytest.raises(MuybridgeError) as caught:
        comparable(score("motion distance"), score("appearance distance"))
    assert "motion distance" in caught.value.message
    assert "appearance distance" in caught.value.message


def test_a_score_goes_to_json_whole() -> None:
    made = Score(
        "copies", 3.5, "near", {"frames": 16}, interval=(1.0, 4.0), floor=2.0, target=0.0, unit="%",
        note="a note",
    )  # fmt: skip
    plain = json.loads(json.dumps(made.as_json()))
    assert plain == {
        "name": "copies", "value": 3.5, "better": "near", "manifest": {"frames": 16},
        "interval": [1.0, 4.0], "floor": 2.0, "target": 0.0, "unit": "%", "note": "a note",
    }  # fmt: skip
