import pytest

from relay.ingest.reconcile import BadOrders, parse_orders


def test_ids_are_read_one_a_line_each_once() -> None:
    listed = b"\xef\xbb\xbforder-1\r\n\n  2016-10-20 12:39:16 +0700 \n#7\norder-1"
    assert parse_orders(listed) == ("order-1", "2016-10-20 12:39:16 +0700", "#7")
    assert parse_orders(b"") == ()


@pytest.mark.parametrize(
    "order",
    [
        "\u3000order\u30001\u3000",
        "\xa0order-1\xa0",
        "order\u200d1",
        "заказ-1",
        "\N{GRINNING FACE}",
        "a\u2028b",
        "\ufefforder",
        "#7 ~a_b.c+/%?&",
    ],
)
def test_whatever_may_stand_in_an_order_id_is_read_as_it_is(order: str) -> None:
    assert parse_orders(f"first\n{order}\nlast\n".encode()) == ("first", order, "last")


def test_a_bad_list_is_refused_whole_with_every_line() -> None:
    with pytest.raises(BadOrders) as caught:
        parse_orders(b"good\n" + b"x" * 256 + b"\na\tb\n\xff\ngood\n\xc2\x85a\nx\xe4\n")
    said = "is the control character"
    assert caught.value.problems == (
        (2, "longer than 255 characters; write one id a line"),
        (3, f"character 2 {said} U+0009; write one id a line and nothing else"),
        (4, "not UTF-8: it holds byte 0xff; save it as UTF-8"),
        (6, f"character 1 {said} U+0085; write one id a line and nothing else"),
        (7, "not UTF-8: it holds byte 0xe4; save it as UTF-8"),
    )
    assert str(caught.value).startswith("line 2: longer than 255 characters")


def test_a_list_in_utf16_is_told_once() -> None:
    with pytest.raises(BadOrders, match=r"^line 1: the list is UTF-16; save it as UTF-8$"):
        parse_orders("order-1\norder-2\n".encode("utf-16"))
