import pytest

from relay.reconcile.orders import BadOrders, read


def test_ids_are_read_one_a_line_each_once() -> None:
    listed = b"\xef\xbb\xbforder-1\r\n\n  2016-10-20 12:39:16 +0700 \n#7\norder-1"
    assert read(listed) == ("order-1", "2016-10-20 12:39:16 +0700", "#7")
    assert read(b"") == ()


def test_a_bad_list_is_refused_whole_with_every_line() -> None:
    with pytest.raises(BadOrders) as caught:
        read(b"good\n" + b"x" * 256 + b"\na\tb\n")
    assert str(caught.value).split("\n") == [
        "line 2: longer than 255 characters; write one id a line",
        "line 3: holds a control character; write one id a line",
    ]


def test_what_is_no_utf8_is_refused() -> None:
    with pytest.raises(BadOrders, match="line 2: not UTF-8"):
        read(b"good\n\xff\n")
