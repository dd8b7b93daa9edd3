"""What the admin API says is JSON, whatever the status."""

from relay.admin.api import json_answer


def test_an_answer_is_json_with_its_status() -> None:
    answer = json_answer({"error": "é"}, 409)
    assert (answer.status, answer.content_type) == (409, "application/json")
    assert answer.body == '{"error":"é"}'.encode()
    assert json_answer([]).status == 200
