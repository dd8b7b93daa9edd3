from base64 import b64decode
from urllib.parse import unquote_plus

from hypothesis import given
from hypothesis import strategies as st

from relay.core.authorization import basic_credentials, client_credentials
from relay.core.secret import Secret

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=":")), TEXT)
def test_user_and_password_come_back(user: str, password: str) -> None:
    encoded = basic_credentials(user, Secret(password)).reveal()
    assert b64decode(encoded).decode().partition(":")[::2] == (user, password)


def test_the_example_of_the_specification() -> None:
    # RFC 7617, 2.1.
    assert basic_credentials("test", Secret("123£")).reveal() == b"dGVzdDoxMjPCow=="


def test_a_client_is_form_encoded_first() -> None:
    # RFC 6749, appendix B; a blank in the spelling that every reader takes for one.
    encoded = client_credentials("a b:c", Secret(" %&+£€"))
    assert b64decode(encoded.reveal()) == b"a%20b%3Ac:%20%25%26%2B%C2%A3%E2%82%AC"


@given(TEXT, TEXT)
def test_id_and_secret_come_back(client_id: str, secret: str) -> None:
    encoded = b64decode(client_credentials(client_id, Secret(secret)).reveal()).decode()
    parts = encoded.partition(":")
    assert (unquote_plus(parts[0]), unquote_plus(parts[2])) == (client_id, secret)


def test_nothing_of_them_prints() -> None:
    assert repr(basic_credentials("me", Secret("p"))) == "***"
    assert repr(client_credentials("me", Secret("p"))) == "***"
