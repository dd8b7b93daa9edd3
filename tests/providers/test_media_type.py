import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Headers
from relay.providers import media_type


def headers(*values: str) -> Headers:
    return Headers(tuple(("content-type", each) for each in values))


@pytest.mark.parametrize(
    "said",
    [
        (),
        ("",),
        ("text/plain",),
        ("application/json",),
        ("application/json", "application/json"),
        ("Application/JSON ; Charset=UTF-8",),
        ('application/json;charset="utf-8"',),
        ("application/json;",),
        ("application/vnd.midtrans+json; version=1",),
        ("application/octet-stream",),
    ],
)
def test_what_leaves_a_body_json(said: tuple[str, ...]) -> None:
    media_type.check_json(headers(*said))


# Anything may stand in a field that is not signed: "&order_id=..." for a reader of forms, and
# "+ACI-" for one of UTF-7.
@pytest.mark.parametrize(
    "said",
    [
        ("application/x-www-form-urlencoded",),
        ("multipart/form-data; boundary=x",),
        ("application/xml",),
        ("application/json; charset=utf-7",),
        ("application/json; charset=utf-16",),
        ("application/json; CHARSET = 'utf-8'",),
        ("text/plain", "application/x-www-form-urlencoded"),
        ("application/json, application/x-www-form-urlencoded",),
        ("application/x-www-form-urlencoded, a/b+json",),
        ("application/x-www-form-urlencoded +json",),
    ],
)
def test_what_makes_something_else_of_it(said: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as caught:
        media_type.check_json(headers(*said))
    assert caught.value.reason is Reason.FIELD_INVALID
