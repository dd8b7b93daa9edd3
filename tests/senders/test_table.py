"""Every file of config/senders through `relay run`: what is genuine is taken, each attack refused.

The table grows with the files. It asks over a socket, once of an endpoint that stores and once of
one that passes on. `test_attacks` has the attacks of all of them without a socket.
"""

from collections.abc import Iterable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from relay.core.clock import SystemClock
from tests.senders.attacks import attacks
from tests.senders.challenges import CHALLENGES, said
from tests.senders.keys import FEW, NAMES, described, keys, other_keys
from tests.senders.sender import Sender, maker
from tests.senders.stage import MODES, STORE, Stage, path, running

EVERY = pytest.mark.parametrize("name", NAMES)
IN_BOTH_MODES = pytest.mark.parametrize("mode", MODES)


def in_both_modes(names: Iterable[str]) -> pytest.MarkDecorator:
    """Try these senders in both modes; of what is passed on, only a few beside the proofs."""
    return pytest.mark.parametrize(
        ("name", "mode"),
        [
            pytest.param(
                name, mode, marks=() if mode == STORE or name in FEW else pytest.mark.proof
            )
            for name in names
            for mode in MODES
        ],
    )


#: Those that a block describes, and not the keys of a provider that is built in.
DESCRIBED = tuple(name for name in NAMES if "signature" in described(name)["provider"])
WITH_CHALLENGE = tuple(name for name in NAMES if "challenge" in described(name)["provider"])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("senders")) as started:
        yield started


@in_both_modes(NAMES)
def test_two_samples_are_two_events_and_a_copy_is_none(name: str, mode: str, stage: Stage) -> None:
    sender = Sender(name, mode, stage)
    first, second = sender.genuine(), sender.genuine()
    for sample in (first, second, first):
        (reply,) = sender.send(sample)
        assert reply.status // 100 == 2, f"{name}: {reply.status} {reply.body!r}"
    wanted = ["accepted", "accepted", "duplicate"] if mode == STORE else ["passed"] * 3
    assert sender.verdicts(3) == wanted, f"two samples of config/senders/{name}.yaml are one event"


@pytest.mark.proof
@pytest.mark.parametrize("name", DESCRIBED)
@IN_BOTH_MODES
def test_each_attack_is_refused(name: str, mode: str, stage: Stage, tmp_path: Path) -> None:
    sender = Sender(name, mode, stage)
    made = maker(name, tmp_path, sender.url)
    tried = list(attacks(made, SystemClock().now(), other_keys(name).signing))
    replies = sender.send(*(attack.sample for attack in tried))
    passed = [
        f"{attack.what}: {reply.status}"
        for attack, reply in zip(tried, replies, strict=True)
        if reply.status // 100 != 4
    ]
    assert not passed, f"config/senders/{name}.yaml takes what is not genuine: {passed}"
    if tried:
        assert set(sender.verdicts(len(tried))) == {"refused"}
    else:
        # It is believed for its addresses, which another test tries.
        assert made.description.signature.scheme == "none"


@EVERY
def test_an_enforced_list_of_addresses_refuses_others(name: str, stage: Stage) -> None:
    if described(name).get("allowlist", {}).get("mode") != "off":
        sender = Sender(name, STORE, stage)
        (reply,) = sender.send(sender.genuine(), client="203.0.113.99")
        assert reply.status == 403, name


# ---- how senders try an address --------------------------------------------------------------


def test_every_challenge_has_its_row() -> None:
    assert not set(WITH_CHALLENGE) - set(CHALLENGES)


@in_both_modes(WITH_CHALLENGE)
def test_a_challenge_is_answered_as_its_documents_say(
    name: str, mode: str, stage: Stage, tmp_path: Path
) -> None:
    sender = Sender(name, mode, stage)
    made = maker(name, tmp_path, sender.url)
    for challenge in CHALLENGES[name]:
        (reply,) = sender.send(challenge.sample(made, SystemClock().now()))
        assert reply.status == 200, f"{name}: {reply.status} {reply.body!r}"
        assert said(reply.body, challenge.answer(keys(name).signing)), reply.body
        assert {field: reply.value(field) for field in challenge.headers} == challenge.headers
        if challenge.signed:
            key = other_keys(name).signing
            (reply,) = sender.send(challenge.sample(made, SystemClock().now(), key))
            assert reply.status // 100 == 4, f"{name}: {reply.status} {reply.body!r}"
    wanted = [
        verdict
        for challenge in CHALLENGES[name]
        for verdict in ("challenged", "refused")[: 2 if challenge.signed else 1]
    ]
    assert sender.verdicts(len(wanted)) == wanted


@in_both_modes(name for name in NAMES if "HEAD" in described(name)["provider"].get("methods", ()))
def test_head_is_answered_where_a_sender_asks_with_it(name: str, mode: str, stage: Stage) -> None:
    stage.check(name)
    connection = HTTPConnection(*stage.address, timeout=10)
    connection.request("HEAD", path(name, mode), headers={"X-Forwarded-For": "192.0.2.7"})
    reply = connection.getresponse()
    connection.close()
    assert reply.status == 200
