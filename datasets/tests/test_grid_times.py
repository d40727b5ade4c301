"""Times of rows."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.grid.times import half_us, iso_time, row_times_us, rows_until
from datasets.tests.grid_sessions import T0_US

pytestmark = pytest.mark.once


@given(st.integers(1, 1000), st.integers(0, 10**7))
def test_it_rounds_each_row_to_the_nearest_microsecond(fps: int, row: int):
    time_us = T0_US + (row * 1_000_000 + fps // 2) // fps
    assert abs(time_us - T0_US - Fraction(row * 1_000_000, fps)) <= Fraction(1, 2)
    assert rows_until(T0_US, time_us, fps) == row + 1
    assert rows_until(T0_US, time_us - 1, fps) == row


def test_it_computes_rows_from_integers():
    assert row_times_us(5, 30, 4).tolist() == [5, 33338, 66672, 100005]
    assert row_times_us(T0_US, 60, 216_001)[-1] == T0_US + 3600 * 10**6  # no drift in an hour
    assert row_times_us(0, 30, 2).dtype == np.int64


def test_it_has_no_rows_before_the_first():
    assert rows_until(10, 9, 30) == 0
    assert rows_until(10, 10, 30) == 1
    assert rows_until(10, -(10**9), 30) == 0


def test_it_rounds_half_a_row_down():
    assert [half_us(fps) for fps in (1, 30, 60, 1000)] == [500_000, 16_666, 8_333, 500]


def test_it_writes_times_with_all_digits():
    assert iso_time(1_767_600_000_000_000) == "2026-01-05T08:00:00.000000Z"
    assert iso_time(T0_US) == "2026-01-05T08:00:00.123457Z"
