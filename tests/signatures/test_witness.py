from relay.model import Delivery
from relay.plugins import load
from relay.providers import Provider, Terms
from relay.schemes import witness
from relay.secret import Secret
from tests.refusals.conftest import SECRET
from tests.refusals.test_desk import refused


def test_nothing_is_seen_unless_somebody_watches() -> None:
    with witness.watching() as seen:
        witness.saw((b"a", None), "s")
    witness.saw((b"b",), "s")
    assert seen == [witness.Seen((b"a", None), "s")]


def test_who_watches_within_sees_for_itself() -> None:
    with witness.watching() as outer:
        with witness.watching() as inner:
            witness.saw((b"a",), "s")
        witness.saw((b"b",), "s")
    assert [each.signed for each in inner] == [(b"a",)]
    assert [each.signed for each in outer] == [(b"b",)]


def test_a_secret_never_comes_by() -> None:
    midtrans: Provider = load("providers", "midtrans").PROVIDER
    one = refused()
    inspector = midtrans.bind(Terms(secrets=(SECRET, Secret("another"))))
    with witness.watching() as seen:
        inspector.inspect(Delivery("midtrans", one.head, one.client, "", one.body))
    (only,) = seen
    assert only.signed[-1] is None
    assert SECRET.reveal() not in b"".join(part or b"" for part in only.signed)
