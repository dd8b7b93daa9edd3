"""What of a DNS answer is used: public addresses, of an answer that is not too large."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from relay.allowlist import Answer, Family, LookupResult
from relay.allowlist.networks import special
from relay.core.request import Address

MAX_IN_ANSWER: Final = 64


@dataclass(frozen=True, slots=True)
class ValidatedAnswer:
    """An answer with its addresses validated; only the `good` ones are used."""

    result: LookupResult
    good: frozenset[Address]
    ttl: int
    problem: str | None


def admissible(answers: Mapping[Family, Answer]) -> tuple[LookupResult, tuple[Address, ...]]:
    """Return the result of a look-up, and its valid addresses, sorted."""
    validated = {family: validate(answer) for family, answer in answers.items()}
    good = {address for each in validated.values() for address in each.good}
    return overall_result(validated), tuple(
        sorted(good, key=lambda each: (each.version, int(each)))
    )


def validate(answer: Answer) -> ValidatedAnswer:
    """Return what of one answer is used: what is special is left out, what is too long is all."""
    refuse = LookupResult.REFUSED_ANSWER
    if not answer.addresses:
        empty = answer.result is LookupResult.OK
        result = LookupResult.EMPTY if empty else answer.result
        problem = f"{result}, {answer.problem}" if answer.problem else str(result)
        return ValidatedAnswer(result, frozenset(), 0, problem)
    if len(answer.addresses) > MAX_IN_ANSWER:
        problem = f"{refuse}, {len(answer.addresses)} addresses"
        return ValidatedAnswer(refuse, frozenset(), 0, problem)
    kinds = {address: special(address) for address in answer.addresses}
    good = frozenset(address for address, kind in kinds.items() if kind is None)
    bad = [f"{address} is {kind}" for address, kind in kinds.items() if kind is not None]
    if bad:
        return ValidatedAnswer(refuse, good, answer.ttl, f"{refuse}, {', '.join(bad)}")
    return ValidatedAnswer(LookupResult.OK, good, answer.ttl, None)


def is_conclusive(each: ValidatedAnswer) -> bool:
    """Tell whether an answer lists the addresses of its family, beside another good answer."""
    return bool(each.good) or each.result is LookupResult.EMPTY


def overall_result(validated: Mapping[Family, ValidatedAnswer]) -> LookupResult:
    """Return the worst result of the families; EMPTY is worse than OK only where all are."""
    results = {each.result for each in validated.values()}
    for failure in (
        LookupResult.REFUSED_ANSWER,
        LookupResult.SERVFAIL,
        LookupResult.TIMEOUT,
        LookupResult.NXDOMAIN,
    ):
        if failure in results:
            return failure
    return LookupResult.OK if LookupResult.OK in results else LookupResult.EMPTY


def family_of(address: Address) -> Family:
    return Family.A if isinstance(address, IPv4Address) else Family.AAAA
