"""The mistakes of challenges: oracles, and what can never be or would swallow events."""

from collections.abc import Iterator, Sequence
from typing import Final

from relay.core.conditions import (
    FieldCondition,
    FormCondition,
    HeaderCondition,
    JsonCondition,
    MethodCondition,
    QueryCondition,
    RequestCondition,
)
from relay.providers.inline import (
    PUBLIC_KEY_SCHEMES,
    Description,
    FormField,
    HeaderField,
    HeaderFields,
    JsonField,
    QueryField,
    SignatureRule,
    Source,
)
from relay.providers.inline.challenge_answers import MAX_ANSWER, AnswerTemplate, templates
from relay.providers.inline.challenge_rules import ChallengeRule

KeyPath = tuple[str | int, ...]

#: What each event has, whoever sends it.
_ALWAYS: Final = tuple(
    (HeaderCondition, name) for name in ("host", "content-type", "content-length")
)

#: Requests without a body.
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def problems(description: Description) -> Iterator[tuple[KeyPath, str]]:
    """Yield each mistake of the challenges: the path of its key, and what to write instead."""
    for at, rule in enumerate(description.challenges):
        for keys, message in _problems(rule, description):
            yield ("challenge", at, *keys), message
        earlier = description.challenges[:at]
        hidden = next((n for n, each in enumerate(earlier) if _covers(each, rule)), None)
        if hidden is not None:
            message = f"is never reached: challenge.{hidden} takes each request that this one would"
            yield ("challenge", at, "when"), message


def may_sign(rule: SignatureRule) -> bool:
    """Return whether the secrets of an endpoint are secrets, with which an answer can be signed."""
    if rule.scheme == "jwt":
        algorithms = () if rule.jwt is None else rule.jwt.algorithms
        return all(name.startswith("HS") for name in algorithms)
    return rule.scheme not in PUBLIC_KEY_SCHEMES and rule.scheme != "none"


# ---- one challenge --------------------------------------------------------------------------


def _problems(rule: ChallengeRule, description: Description) -> Iterator[tuple[KeyPath, str]]:
    yield from _when_problems(rule, description)
    signs = False
    for place, text in templates(rule.answer):
        try:
            template = AnswerTemplate(text)
        except ValueError as error:
            yield ("answer", *place), str(error)
            continue
        for message in (*_never_filled(template, rule), *_never_said(place, template)):
            yield ("answer", *place), message
        if template.signs:
            signs = True
            if oracle := _oracle(rule, description.signature):
                yield ("answer", *place), oracle
    if rule.secret is not None and not signs:
        message = "signs nothing; put {hmac_sha256_hex:…} into answer, or leave the key out"
        yield ("secret",), message
    if rule.signed and description.signature.scheme == "none":
        yield ("signed",), "this sender signs nothing; write signed: false"


def _oracle(rule: ChallengeRule, signature: SignatureRule) -> str | None:
    """Return what is wrong with signing an answer, where it would help a stranger."""
    if rule.secret is not None:
        return None
    own = 'give the challenge a secret of its own, as secret: "${env:NAME}"'
    if not rule.signed:
        return (
            "would sign what any stranger sends with the secret that verifies messages; leave"
            f" signed: false out, or {own}"
        )
    if not may_sign(signature):
        return f"the secrets of this sender are no keys to sign with; {own}"
    return None


def _never_filled(template: AnswerTemplate, rule: ChallengeRule) -> Iterator[str]:
    """Yield each value of an answer that no request can have which the challenge takes."""
    bodies = {each for each in map(_body_of, rule.when) if each}
    for value in template.values():
        if value.kind not in {"json", "form"}:
            continue
        bodiless = [each for each in rule.methods if each in _BODILESS]
        if bodiless:
            yield f"a {bodiless[0]} has no body, and {value} is never there"
        elif bodies and value.kind not in bodies:
            yield f"{value} is never there, since when looks for another kind of body"


def _never_said(place: KeyPath, template: AnswerTemplate) -> Iterator[str]:
    """Yield why the text around the values of an answer can be said in none."""
    text = "".join([part for part in template.parts if isinstance(part, str)])
    if len(text.encode()) > MAX_ANSWER:
        yield f"is longer than the {MAX_ANSWER} bytes that an answer may have"
    elif place[0] == "headers" and not all(" " <= each <= "~" for each in text):
        yield "a header field holds ASCII alone, and no line break"


# ---- its conditions -------------------------------------------------------------------------


def _when_problems(rule: ChallengeRule, description: Description) -> Iterator[tuple[KeyPath, str]]:
    methods = dict.fromkeys(rule.methods)
    if len(methods) > 1:
        yield ("when",), f"no request has the methods {' and '.join(methods)} at once"
        return
    bodies = {each for each in map(_body_of, rule.when) if each}
    if len(bodies) > 1:
        yield ("when",), "no body is JSON and a form at once"
    elif bodies and (method := next((each for each in methods if each in _BODILESS), None)):
        yield ("when",), f"a {method} has no body; name a parameter of the query or a header field"
    seen: list[FieldCondition] = []
    for each in rule.when:
        if isinstance(each, MethodCondition):
            continue
        if other := next((one for one in seen if _contradict(one, each)), None):
            yield ("when",), f"{other} cannot have two values at once, and nothing would fit"
        if message := _never_has(each):
            yield ("when",), message
        seen.append(each)
    if not _tells_apart(rule, description):
        message = (
            "every message of this sender fits, and none would be stored; name what only the"
            " challenge has, such as {json: /challenge}"
        )
        yield ("when",), message


def _body_of(condition: RequestCondition) -> str:
    """Return the kind of body that a condition looks at; empty for none."""
    if isinstance(condition, JsonCondition):
        return "json"
    return "form" if isinstance(condition, FormCondition) else ""


def _place(condition: FieldCondition) -> tuple[type[object], str]:
    if isinstance(condition, JsonCondition):
        return JsonCondition, condition.pointer
    if isinstance(condition, HeaderCondition):
        return HeaderCondition, condition.name.lower()
    return type(condition), condition.name


def _contradict(one: FieldCondition, other: FieldCondition) -> bool:
    if _place(one) != _place(other) or not _compared(one) or not _compared(other):
        return False
    return _compared(one).isdisjoint(_compared(other))


def _compared(condition: FieldCondition) -> frozenset[bytes]:
    """Return what a value is compared with; nothing where it only has to be there."""
    secrets = (each.reveal() for each in condition.secrets)
    return frozenset((*map(str.encode, condition.values), *secrets))


def _never_has(condition: FieldCondition) -> str | None:
    """Return why a value can never be one of those that are named."""
    if not isinstance(condition, HeaderCondition):
        return None
    for value in condition.values:
        if value != value.strip() or not value.isprintable():
            return f"{condition} never has a blank at an end or a control character; write it so"
    return None


def _tells_apart(rule: ChallengeRule, description: Description) -> bool:
    """Return whether an event may be none of this challenge, by what is known of events."""
    if any(method not in description.methods for method in rule.methods):
        return True
    if description.methods and set(rule.methods) == {"HEAD"}:
        return True
    always = [*_ALWAYS, *_signature_places(description.signature.source)]
    time = description.signature.time
    if time is not None and time.source is not None:
        always += _signature_places(time.source)
    # An event without one of these values is refused.
    must = {
        (JsonCondition, each.pointer): frozenset(map(str.encode, each.values))
        for each in description.must
    }
    for each in rule.when:
        if isinstance(each, MethodCondition):
            continue
        place, accepted = _place(each), _compared(each)
        if place in must and (not accepted or must[place] <= accepted):
            continue
        if accepted or place not in always:
            return True
    return False


def _signature_places(source: Source) -> Sequence[tuple[type[object], str]]:
    """Return where the signature of each event stands, so that being there says nothing."""
    match source:
        case HeaderField(name):
            return [(HeaderCondition, name.lower())]
        case HeaderFields(names):
            return [(HeaderCondition, names[0].lower())] if len(names) == 1 else []
        case JsonField(pointer):
            return [(JsonCondition, pointer)]
        case QueryField(name):
            return [(QueryCondition, name)]
        case FormField(name):
            return [(FormCondition, name)]


def _covers(earlier: ChallengeRule, later: ChallengeRule) -> bool:
    """Return whether the earlier one takes each request that the later one would."""
    return all(any(_implies(given, wanted) for given in later.when) for wanted in earlier.when)


def _implies(given: RequestCondition, wanted: RequestCondition) -> bool:
    if isinstance(given, MethodCondition) or isinstance(wanted, MethodCondition):
        return given == wanted
    if _place(given) != _place(wanted):
        return False
    held, accepted = _compared(given), _compared(wanted)
    return not accepted or (bool(held) and held <= accepted)
