"""Of an answer, public addresses are used; what would be let in can be told beforehand."""

from ipaddress import ip_address

from relay.allowlist import Answer, Family, LookupResult
from relay.allowlist.dns_answers import admissible


def test_what_would_be_let_in_is_told_without_a_record() -> None:
    answers = {
        Family.A: Answer(
            LookupResult.OK, (ip_address("104.45.17.200"), ip_address("10.0.0.1")), 60
        ),
        Family.AAAA: Answer(LookupResult.OK, (ip_address("2a01:111::1"),), 60),
    }
    result, addresses = admissible(answers)
    assert result is LookupResult.REFUSED_ANSWER
    assert [str(each) for each in addresses] == ["104.45.17.200", "2a01:111::1"]
