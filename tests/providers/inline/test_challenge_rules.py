"""What a challenge says of itself."""

from relay.core.conditions import JsonCondition, MethodCondition
from relay.core.secret import Secret
from relay.providers.inline.challenge_rules import ChallengeRule


def test_it_names_its_methods() -> None:
    when = (MethodCondition("GET"), JsonCondition("/a"), MethodCondition("HEAD"))
    assert ChallengeRule(when).methods == ("GET", "HEAD")
    assert ChallengeRule((JsonCondition("/a"),)).methods == ()


def test_it_does_not_print_its_secret() -> None:
    assert "hidden" not in repr(ChallengeRule((), secret=Secret("hidden")))
