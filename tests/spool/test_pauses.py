"""A pause is what it was: who reads it cannot change it."""

from dataclasses import FrozenInstanceError

import pytest

from relay.spool.audit import Actor
from relay.spool.pauses import Pause
from tests.harness.deliveries import RECEIVED


def test_a_pause_cannot_be_changed() -> None:
    pause = Pause(RECEIVED, Actor.SESSION)
    with pytest.raises(FrozenInstanceError):
        pause.actor = Actor.CLI  # type: ignore[misc]
    assert pause == Pause(RECEIVED, Actor.SESSION)
