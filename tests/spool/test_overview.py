"""An overview of which nothing is said has nothing that waits."""

from relay.spool.overview import Overview, Waiting


def test_nothing_waits_unless_it_is_said() -> None:
    found = Overview()
    assert (found.refused, found.unknown_but_signed, found.damaged) == (Waiting(),) * 3
    assert (Waiting().number, Waiting().since) == (0, None)
    assert (found.backlog, found.dead, found.held) == ({}, {}, {})
