"""Errors by cause, and the closed list of reasons for a refusal.

A `Refusal` is an answer: a deliberate no, with one closed reason. Everything else is a fault:
the provider is asked to try again, and nothing is acknowledged.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a delivery was refused. One spelling for logs, metrics, filters and documentation."""

    UNKNOWN_ENDPOINT = "unknown_endpoint"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    SOURCE_UNKNOWN = "source_unknown"
    SOURCE_NOT_ALLOWED = "source_not_allowed"
    FORWARDING_UNTRUSTED = "forwarding_untrusted"
    HEADERS_TOO_LARGE = "headers_too_large"
    HEADER_TIMEOUT = "header_timeout"
    PROXY_HEADER_INVALID = "proxy_header_invalid"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TIMEOUT = "body_timeout"
    BODY_ENCODED = "body_encoded"
    BODY_MALFORMED = "body_malformed"
    FIELD_INVALID = "field_invalid"
    FIELD_FOREIGN = "field_foreign"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_MISMATCH = "signature_mismatch"
    TIMESTAMP_INVALID = "timestamp_invalid"
    TIMESTAMP_OUTSIDE_WINDOW = "timestamp_outside_window"
    EVENT_CONFLICT = "event_conflict"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    OVERLOAD = "overload"
    CONFIRMATION_FAILED = "confirmation_failed"


class RelayError(Exception):
    """Base of every error this package raises on purpose."""


class Refusal(RelayError):
    """A deliberate no to one delivery.

    `detail` is for the operator's log. It never holds a secret, and never reaches the sender.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class SpoolUnavailable(RelayError):
    """The spool could not do what was asked; nothing that was asked has been acknowledged."""


class UpstreamOverloaded(RelayError):
    """Too much is being passed on to this upstream already; this delivery has not been."""


class LeaseLost(RelayError):
    """The lease has expired and another holder may have the event: its outcome was not recorded."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a configuration file; `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: "
        return place + (f"{self.where}: {self.message}" if self.where else self.message)


class Obstacle(Problem):
    """What keeps a running relay from taking a configuration that has no mistake itself."""


class ConfigError(RelayError):
    """Everything that is wrong with a configuration, all at once, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
