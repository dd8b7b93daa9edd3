"""How a described sender's challenges look: requests that try an endpoint, and hold no event."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from relay.core.conditions import MethodCondition, RequestCondition
from relay.core.secret import Secret

#: A JSON answer; each text in it is a template, but for the names of fields.
JsonTemplate = str | int | bool | None | tuple["JsonTemplate", ...] | Mapping[str, "JsonTemplate"]

#: What senders take for an answer that nothing is said of.
PLAIN: Final = "OK"


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """What a challenge is answered with: a text or JSON, and header fields. Texts are templates.

    text: None where the body is JSON.
    """

    text: str | None = PLAIN
    json: JsonTemplate = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChallengeRule:
    """A request for which all conditions hold is this challenge.

    signed: it is answered only if its signature is right.
    secret: signs what the answer holds signed, in place of the first secret of the endpoint.
    """

    when: tuple[RequestCondition, ...]
    answer: AnswerRule = AnswerRule()
    signed: bool = True
    secret: Secret | None = field(default=None, repr=False)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it names."""
        return tuple(each.method for each in self.when if isinstance(each, MethodCondition))


#: What `HEAD` among the methods means: an answer to it has no body, and a request no event.
HEAD: Final = ChallengeRule((MethodCondition("HEAD"),), signed=False)


def told(rule: ChallengeRule) -> str:
    """Return in words which requests are this challenge; a value that is a secret is not said."""
    proof = "if it is signed" if rule.signed else "signed or not"
    return f"answered where {' and '.join(map(_said, rule.when))}, {proof}"


def _said(condition: RequestCondition) -> str:
    if isinstance(condition, MethodCondition):
        return f"the method is {condition.method}"
    if condition.secrets:
        return f"{condition} is a secret"
    if condition.values:
        return f"{condition} is {' or '.join(condition.values)}"
    return f"{condition} is there"
