"""@shopify/shopify-api, of npm."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed, text
from tests.interop.node_library import NodeLibrary, node_library

pytestmark = [pytest.mark.interop, pytest.mark.npm]

_SCRIPT = """
require("@shopify/shopify-api/adapters/node");
const { shopifyApi, ApiVersion } = require("@shopify/shopify-api");
async function answer({ secret, body, headers }) {
  const shopify = shopifyApi({
    apiKey: "key", apiSecretKey: secret, scopes: [], hostName: "shop.example",
    apiVersion: Object.values(ApiVersion)[0], isEmbeddedApp: false, logger: { level: 0 },
  });
  const rawRequest = { method: "POST", url: "/hooks", headers };
  const found = await shopify.webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} });
  return found.valid;
}
"""


@pytest.fixture(scope="module")
def shopify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeLibrary]:
    directory = tmp_path_factory.mktemp("shopify")
    with node_library(directory, _SCRIPT, "@shopify/shopify-api") as found:
        yield found


class TestShopify(Agreement):
    sender = "shopify"
    needed = ("X-Shopify-Hmac-SHA256",)

    @pytest.fixture
    def theirs(self, shopify: NodeLibrary) -> NodeLibrary:
        return shopify

    def headers(self, dice: Random) -> dict[str, str]:
        return {
            "X-Shopify-Topic": "orders/paid",
            "X-Shopify-Webhook-Id": text(dice, 20),
            "X-Shopify-API-Version": "2026-10",
            "X-Shopify-Shop-Domain": "example.myshopify.com",
        }

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        headers = {name.lower(): value for name, value in message.headers.items()}
        try:
            body = message.body.decode()
        except UnicodeDecodeError:
            return False
        said = theirs.ask(secret=secret, body=body, headers=headers)
        assert isinstance(said, bool), said
        return said
