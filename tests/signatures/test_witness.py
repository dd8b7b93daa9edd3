from relay import signatures
from relay.core.request import Delivery
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Provider
from relay.providers.builtin import load
from tests.ingest.endpoints import SECRET
from tests.ingest.test_refusals_desk import refused


def test_nothing_is_seen_unless_somebody_watches() -> None:
    with signatures.watching() as seen:
        signatures.saw((b"a", None), "s")
    signatures.saw((b"b",), "s")
    assert seen == [signatures.Seen((b"a", None), "s")]


def test_who_watches_within_sees_for_itself() -> None:
    with signatures.watching() as outer:
        with signatures.watching() as inner:
            signatures.saw((b"a",), "s")
        signatures.saw((b"b",), "s")
    assert [each.signed for each in inner] == [(b"a",)]
    assert [each.signed for each in outer] == [(b"b",)]


def test_a_secret_never_comes_by() -> None:
    midtrans: Provider = load("midtrans")
    one = refused()
    inspector = midtrans.bind(EndpointOptions(secrets=(SECRET, Secret("another"))))
    with signatures.watching() as seen:
        inspector.verify(Delivery("midtrans", one.head, one.client, "", one.body))
    (only,) = seen
    assert only.signed[-1] is None
    assert SECRET.reveal() not in b"".join(part or b"" for part in only.signed)
