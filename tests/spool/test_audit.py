"""The words of acts are those that are documented."""

from relay.spool.audit import Actor


def test_the_actors_are_a_closed_list() -> None:
    assert set(Actor) == {"token", "read_token", "session", "cli"}
