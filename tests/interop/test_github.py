"""gidgethub, of PyPI, and @octokit/webhooks-methods, of npm."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed, SignsToo
from tests.interop.node_library import NodeLibrary, node_library

pytestmark = pytest.mark.interop

_OCTOKIT = """
const octokit = import("@octokit/webhooks-methods");
async function answer({ secret, body, signature }) {
  const { sign, verify } = await octokit;
  return signature === undefined ? sign(secret, body) : verify(secret, body, signature);
}
"""


class TestGidgethub(Agreement):
    sender = "github"
    module = "gidgethub.sansio"
    distribution = "gidgethub"
    needed = ("X-Hub-Signature-256",)

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        value = message.header("X-Hub-Signature-256")
        try:
            theirs.validate_event(message.body, signature=value, secret=secret)
        except theirs.ValidationFailure:
            return False
        return True


@pytest.fixture(scope="module")
def octokit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeLibrary]:
    directory = tmp_path_factory.mktemp("octokit")
    with node_library(directory, _OCTOKIT, "@octokit/webhooks-methods") as found:
        yield found


@pytest.mark.npm
class TestOctokit(SignsToo):
    sender = "github"
    needed = ("X-Hub-Signature-256",)

    @pytest.fixture
    def theirs(self, octokit: NodeLibrary) -> NodeLibrary:
        return octokit

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        value = message.header("X-Hub-Signature-256")
        try:
            body = message.body.decode()
        except UnicodeDecodeError:
            return False
        return theirs.ask(secret=secret, body=body, signature=value) is True

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        return {
            "X-Hub-Signature-256": theirs.ask(secret=secret, body=message.body.decode()),
        }
