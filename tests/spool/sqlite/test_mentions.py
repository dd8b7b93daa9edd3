import apsw
import pytest

from relay.spool.sqlite import events, mentions


def acts(connection: apsw.Connection, *details: str) -> None:
    statement = "INSERT INTO audit (at, actor, origin, act, detail) VALUES (1, 'cli', '', 'x', ?)"
    for detail in details:
        connection.execute(statement, (detail,))


def details(connection: apsw.Connection) -> list[str]:
    return [detail for (detail,) in events.fetch(connection, "SELECT detail FROM audit ORDER BY n")]


def test_a_masked_act_stays_where_it_lies(connection: apsw.Connection) -> None:
    text = "order-é-of-some-length"
    acts(connection, f'{{"filter":{{"find":"{text}"}}}}')
    [before] = details(connection)
    mentions.mask(connection, [text])
    [after] = details(connection)
    assert after.rstrip() == '{"filter":{"find":"***"}}'
    assert len(after.encode()) == len(before.encode())


def test_acts_that_are_damaged_or_name_nothing_stay_as_they_are(
    connection: apsw.Connection,
) -> None:
    given = ["{", "[]", '{"filter":"order"}', '{"filter":{"endpoint":"order"}}', "{}"]
    acts(connection, *given)
    mentions.mask(connection, ["order"])
    assert details(connection) == given


@pytest.mark.parametrize(
    ("asked", "masked"), [("/pay/1", True), ("/1/pay", True), ("/pay/v1", False), ("/pay", False)]
)
def test_a_short_id_is_masked_only_as_a_part_of_a_path(
    connection: apsw.Connection, asked: str, masked: bool
) -> None:
    connection.execute("INSERT INTO strangers VALUES ('a', 'n', 'n', ?, 1, 1, 1, 0)", (asked,))
    mentions.mask(connection, ["1", ""])
    [(shown,)] = events.fetch(connection, "SELECT path FROM strangers")
    assert shown == ("***" if masked else asked)
