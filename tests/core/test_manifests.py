from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.manifests import ABSENT, as_text, differing, judged

PLAIN = (
    st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2) | st.text("ab1.", max_size=3)
)
VALUES = st.recursive(PLAIN, lambda x: st.lists(x, max_size=2), max_leaves=3)
NAMES = st.sampled_from(["frames", "fps", "running", "run", "run_sampling", "checkpoint_step"])
MANIFESTS = st.dictionaries(NAMES, VALUES)


@given(MANIFESTS, MANIFESTS)
def test_fields_differ_where_values_do(first: dict[str, Any], second: dict[str, Any]) -> None:
    def same(one: Any, other: Any) -> bool:
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(same, one, other))
        # True is not 1, though Python has them equal.
        return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)

    expected = [
        name
        for name in ("fps", "frames", "running")
        if (name in first) != (name in second) or not same(first.get(name), second.get(name))
    ]
    assert differing(first, second) == expected
    assert differing(second, first) == expected
    assert differing(first, first) == []


def test_nested_fields_are_named_by_their_place() -> None:
    first = {"resize": {"filter": "area", "size": [224, 224.0]}, "extractor": {"checkpoint": "a"}}
    second = {"resize": {"filter": "cubic", "size": (224, 224)}, "extractor": {"checkpoint": "b"}}
    # What an extractor was trained to is how clips were judged, not whose they are.
    assert differing(first, second) == ["extractor.checkpoint", "resize.filter"]
    assert differing({"resize": {}}, {}) == ["resize"]


def test_numbers_are_alike_whatever_their_type() -> None:
    assert differing({"frames": 16, "fps": 8.0}, {"frames": 16.0, "fps": np.float64(8)}) == []
    assert differing({"frames": np.int64(16)}, {"frames": 16}) == []
    assert differing({"share": float("nan")}, {"share": float("nan")}) == []
    assert differing({"frames": 16}, {"frames": "16"}) == ["frames"]
    assert differing({"flip": True}, {"flip": 1}) == ["flip"]


@pytest.mark.parametrize("missing", [{}, {"k": None}])
def test_a_field_that_only_one_has_differs(missing: dict[str, Any]) -> None:
    assert differing({"k": 5}, missing) == ["k"]
    assert differing({}, {"k": None}) == ["k"]


@given(VALUES, VALUES)
def test_text_of_values_is_alike_only_where_they_are(first: Any, second: Any) -> None:
    told = as_text(judged({"k": first}), "k"), as_text(judged({"k": second}), "k")
    assert (told[0] == told[1]) == (differing({"k": first}, {"k": second}) == [])
    assert ABSENT not in told
    assert as_text({}, "k") == ABSENT and as_text({"k": ABSENT}, "k") != ABSENT
    assert as_text({"k": "area"}, "k") == "area"
