"""Turns are short for as long as they have to be."""

import sys

import pytest

from relay.core.concurrency import short_switch_interval


def test_turns_are_as_long_as_ever_afterwards_whatever_happens() -> None:
    usual = sys.getswitchinterval()
    with short_switch_interval():
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == pytest.approx(usual)
    with short_switch_interval():
        with short_switch_interval():
            pass
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == pytest.approx(usual)
    with pytest.raises(ValueError, match="in between"), short_switch_interval():
        raise ValueError("in between")
    assert sys.getswitchinterval() == pytest.approx(usual)
