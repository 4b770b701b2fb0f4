from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from muybridge.evaluation.student import quantile, tail, two_sided

FREEDOMS = [1, 1.5, 2, 3.3, 7, 15, 30.5, 1000, 1e5]


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("t", [0, 1e-3, 0.5, 2, 5, 40, 1e3])
def test_the_tail_is_the_reference_one(freedom: float, t: float) -> None:
    assert tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-6, abs=1e-300)
    assert tail(-t, freedom) == pytest.approx(stats.t.cdf(t, freedom), rel=1e-6)
    assert two_sided(-t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-6, abs=1e-300)


@given(st.sampled_from(FREEDOMS), st.floats(0.5, 0.999))
def test_bounds_hold_the_level(freedom: float, level: float) -> None:
    wanted = stats.t.ppf((1 + level) / 2, freedom)
    assert quantile(freedom, level) == pytest.approx(wanted, rel=1e-6)


def test_with_many_degrees_it_is_the_normal_distribution() -> None:
    assert quantile(1e12) == pytest.approx(1.959963984540054, rel=1e-6)


@pytest.mark.parametrize("freedom", [0.5, 0.0, -3.0, math.nan])
def test_without_a_degree_of_freedom_there_is_none(freedom: float) -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        tail(1.0, freedom)
