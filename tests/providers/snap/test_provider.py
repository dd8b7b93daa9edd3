import json
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import timedelta
from hmac import digest

import pytest

from relay.core.errors import Reason
from relay.core.request import Delivery
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, Provider, SampleOrder
from relay.providers.snap import ACCOUNT, DEBIT, INQUIRY, LINK, QRIS, SERVICES, Dialect
from relay.providers.snap.provider import described
from tests.contracts.provider import (
    NOW,
    URL,
    Keys,
    ProviderContract,
    delivery_of,
    keys_for,
    outcome,
    tried,
)
from tests.providers.snap.dialects import (
    ASYMMETRIC,
    CLIENT,
    ENVIRONMENTS,
    KEYS,
    SYMMETRIC,
    WithToken,
    rules,
)


class TestAsymmetric(ProviderContract):
    @pytest.fixture
    def provider(self) -> Provider:
        return ASYMMETRIC


class TestSymmetric(ProviderContract):
    @pytest.fixture
    def provider(self) -> Provider:
        return WithToken()

    def test_what_is_shown_is_what_was_verified(
        self, provider: Provider, inspector: Inspector, delivery: Delivery, keys: tuple[Keys, Keys]
    ) -> None:
        """All but the token, which is shown nowhere."""
        assert isinstance(provider, WithToken)
        shown = tried(inspector, delivery)[-1]
        token = provider.token.reveal()
        assert None in shown.parts
        assert token not in b"".join(part or b"" for part in shown.parts)
        whole = shown.joined(token)
        assert whole.startswith(b"POST:" + QRIS.encode() + b":" + token + b":")
        mac = digest(keys[0].verifying.reveal(), whole, "sha512")
        assert shown.signature == b64encode(mac).decode()

    def test_what_an_upstream_could_check_passes_on_and_a_token_does_not(
        self, provider: Provider, required: tuple[str, ...]
    ) -> None:
        assert {*required} - {*provider.info.headers} == {"Authorization"}


# ---- facts ----------------------------------------------------------------------------------


def test_a_token_is_asked_for_by_its_path() -> None:
    shapes = {shape.path: shape for shape in SYMMETRIC.info.shapes}
    assert shapes.keys() == {*SERVICES, "/v1.0/access-token/b2b"}
    assert not any(shape.proxied for shape in shapes.values())
    assert [path for path, shape in shapes.items() if shape.tokens] == [LINK]
    assert {shape.path for shape in ASYMMETRIC.info.shapes} == {*SERVICES}


def test_a_question_is_asked_of_the_upstream() -> None:
    asking = described("asking", ENVIRONMENTS, Dialect(services={INQUIRY: "24", ACCOUNT: "25"}))
    assert [shape.proxied for shape in asking.info.shapes] == [True, False]
    sample = asking.sample(SampleOrder(URL, KEYS.signing, NOW, {"path": INQUIRY}))
    found = asking.bind(EndpointOptions((KEYS.verifying,))).verify(delivery_of(sample))
    assert found.key.startswith("24:")


def test_paths_of_its_own() -> None:
    own = described("own", ENVIRONMENTS, Dialect(services={"/v1.1/transfer-va/payment": "25"}))
    sample = own.sample(SampleOrder(URL, KEYS.signing, NOW))
    assert sample.suffix == "/v1.1/transfer-va/payment"
    assert json.loads(sample.body)["virtualAccountNo"].startswith("  ")
    found = own.bind(EndpointOptions((KEYS.verifying,))).verify(delivery_of(sample))
    assert found.key.startswith("25:")
    with pytest.raises(ValueError, match=r"^path: there are: /v1\.1/transfer-va/payment"):
        own.sample(SampleOrder(URL, KEYS.signing, NOW, {"path": ACCOUNT}))


# ---- options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order_id_pattern": "x"}, "order_id_pattern: "),
        ({"callback": "checkout"}, "callback: "),
        ({"public_url": "ftp://x"}, "public_url: write the public form"),
        ({"public_url": "https://x.example/p" + DEBIT}, "public_url: the sender appends"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, str], said: str) -> None:
    for provider in (ASYMMETRIC, SYMMETRIC):
        with pytest.raises(ValueError, match=f"^{said}"):
            provider.bind(EndpointOptions(**options))  # type: ignore[arg-type]


def test_a_key_of_tokens_that_is_none() -> None:
    bad = EndpointOptions(tokens=replace(rules(), keys=(KEYS.verifying, Secret("x"))))
    with pytest.raises(ValueError, match=r"^tokens\.keys\.1: "):
        SYMMETRIC.bind(bad)


def test_without_tokens_nothing_is_known() -> None:
    provider = WithToken()
    keys = keys_for(provider)[0]
    delivery = delivery_of(provider.sample(SampleOrder(URL, keys.signing, NOW)))
    alone = SYMMETRIC.bind(EndpointOptions((keys.verifying,)))
    assert outcome(alone, delivery) is Reason.SIGNATURE_MISMATCH
    kept_nowhere = SYMMETRIC.bind(EndpointOptions((keys.verifying,), tokens=rules()))
    assert outcome(kept_nowhere, delivery) is Reason.SIGNATURE_MISMATCH


# ---- samples --------------------------------------------------------------------------------


def test_a_symmetric_sample_needs_a_token() -> None:
    assert SYMMETRIC.asks_for_token
    assert not ASYMMETRIC.asks_for_token
    with pytest.raises(ValueError, match=r"^gateway signs with an access token"):
        SYMMETRIC.sample(SampleOrder(URL, Secret("secret"), NOW))


def test_a_question_for_a_token_needs_a_private_key() -> None:
    order = SampleOrder(URL, Secret("secret"), NOW, {"X-CLIENT-KEY": CLIENT})
    with pytest.raises(ValueError, match=r"give the private key .* tokens\.keys"):
        SYMMETRIC.token_request(order)
    with pytest.raises(ValueError, match="not a private RSA key"):
        SYMMETRIC.token_request(SampleOrder(URL, Secret("s"), NOW, key=Secret("x")))
    sample = SYMMETRIC.token_request(SampleOrder(URL, Secret("s"), NOW, key=KEYS.signing))
    assert sample.suffix == "/v1.0/access-token/b2b"
    assert len(b64decode(sample.headers.values("X-SIGNATURE")[0])) == 256


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        (b'{"accessToken":"t"}', Secret("t")),
        (b'{"accessToken":1}', None),
        ('{"accessToken":"é"}'.encode(), None),
        (b"{}", None),
        (b"no json", None),
    ],
)
def test_the_token_in_an_answer(answer: bytes, token: Secret | None) -> None:
    assert SYMMETRIC.token_in(answer) == token


def test_the_window_is_the_standards() -> None:
    for provider in (ASYMMETRIC, SYMMETRIC):
        window = provider.info.window
        assert window is not None
        assert (window.past, window.future) == (timedelta(hours=24), timedelta(minutes=5))
