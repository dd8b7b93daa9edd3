"""What a challenge says of itself."""

from relay.core.conditions import HeaderCondition, JsonCondition, MethodCondition, QueryCondition
from relay.core.secret import Secret
from relay.providers.inline.challenge_rules import ChallengeRule, told


def test_it_names_its_methods() -> None:
    when = (MethodCondition("GET"), JsonCondition("/a"), MethodCondition("HEAD"))
    assert ChallengeRule(when).methods == ("GET", "HEAD")
    assert ChallengeRule((JsonCondition("/a"),)).methods == ()


def test_it_does_not_print_its_secret() -> None:
    assert "hidden" not in repr(ChallengeRule((), secret=Secret("hidden")))


def test_a_secret_is_not_said() -> None:
    asked = QueryCondition("token", secrets=(Secret("of-the-sender"),))
    rule = ChallengeRule((MethodCondition("GET"), asked), signed=False)
    expected = "answered where the method is GET and the parameter token is a secret, signed or not"
    assert told(rule) == expected


def test_several_values_are_told() -> None:
    rule = ChallengeRule((HeaderCondition("X-Kind", values=("ping", "probe")),))
    assert told(rule) == "answered where the header X-Kind is ping or probe, if it is signed"
