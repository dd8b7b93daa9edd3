import pytest

from relay.providers.snap import SERVICES
from relay.providers.snap.samples import message
from tests.contracts.provider import NOW


@pytest.mark.parametrize("service", [*SERVICES.values(), "24", "99"])
def test_each_service_has_a_message_that_is_new_each_time(service: str) -> None:
    assert message(service, NOW, {}) != message(service, NOW, {})


def test_an_inquiry_names_an_account() -> None:
    made = message("24", NOW, {"virtualAccountNo": " 1"})
    assert made["virtualAccountNo"] == " 1"
    assert str(made["inquiryRequestId"]).startswith("relay-")
    with pytest.raises(ValueError, match="cannot be set"):
        message("24", NOW, {"additionalInfo": "x"})
