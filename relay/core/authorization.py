"""What an Authorization field is made of: Basic credentials, and a client's id and secret.

Also what is hidden of them: whoever has the Base64 of a password has the password.
"""

from base64 import b64encode
from typing import Final
from urllib.parse import quote

from relay.core.secret import Secret

#: The field, as names are compared.
AUTHORIZATION: Final = "authorization"


def basic_credentials(user: str, password: Secret) -> Secret:
    """Return the Base64 of user and password, both in UTF-8 (RFC 7617, 2 and 2.1)."""
    return Secret(b64encode(b"%s:%s" % (user.encode(), password.reveal())))


def client_credentials(client_id: str, secret: Secret) -> Secret:
    """Return the same of an OAuth2 client: each is form-encoded first (RFC 6749, 2.3.1)."""
    encoded = Secret(quote(secret.reveal(), safe=""))
    return basic_credentials(quote(client_id, safe=""), encoded)
