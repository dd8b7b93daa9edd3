"""Debian's chromium, driven by playwright, and everything that it complains of."""

import shutil
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Error,
    Page,
    Request,
    async_playwright,
)

PROGRAM: Final = shutil.which("chromium")

#: In milliseconds: for all that a page is waited for.
PATIENCE: Final = 30_000

WIDE: Final = (1440, 900)
NARROW: Final = (390, 844)

Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")

_ARGUMENTS: Final = ("--no-sandbox", "--disable-dev-shm-usage")

#: What the browser itself asks for, whatever a page says.
_OF_ITS_OWN: Final = ("data", "about", "blob")

_NOT_FOUND: Final = "Failed to load resource: the server responded with a status of 4"

_TELL_VIOLATIONS: Final = """
document.addEventListener("securitypolicyviolation", (violation) => console.error(
    `CSP ${violation.violatedDirective} ${violation.blockedURI} ${violation.sample}`));
"""


@dataclass
class Visitor:
    """One page in a browser of its own, without a session as yet.

    complaints: dialogs, errors in the console, violations of the policy, requests to elsewhere.
    """

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    async def go(self, path: str) -> int:
        """Open a path; return the status that it was answered with."""
        answer = await self.page.goto(self.base + path)
        assert answer is not None
        return answer.status

    async def log_in(self, token: str) -> None:
        await self.go("/login")
        await self.page.get_by_label("Token").fill(token)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_url(lambda url: not url.endswith("/login"))

    def forgive(self) -> None:
        """Forget the complaints so far: the test has caused them."""
        self.complaints.clear()

    def watch(self) -> None:
        self.page.on("dialog", self._dialog)
        self.page.on("console", self._console)
        self.page.on("pageerror", self._error)
        self.page.on("request", self._request)

    async def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _console(self, message: ConsoleMessage) -> None:
        # A page that is opened and is not there is the browser's news, and the test asks for it.
        own = message.text.startswith(_NOT_FOUND) and message.location["url"] == self.page.url
        if message.type in {"error", "warning"} and not own:
            self.complaints.append(f"{message.type}: {message.text}")

    def _error(self, error: Error) -> None:
        self.complaints.append(f"uncaught: {error.message}")

    def _request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in _OF_ITS_OWN and not request.url.startswith(self.base + "/"):
            self.complaints.append(f"request to elsewhere: {request.url}")


class Chromium:
    """A running chromium. Skips the test, loudly, where there is none."""

    def __init__(self) -> None:
        if PROGRAM is None:
            pytest.skip("NO PAGE WAS LOOKED AT: chromium is absent (package chromium)")
        self._program = PROGRAM

    async def __aenter__(self) -> Self:
        self._driver = await async_playwright().start()
        self._browser: Browser = await self._driver.chromium.launch(
            executable_path=self._program, args=_ARGUMENTS
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._browser.close()
        await self._driver.stop()

    async def visitor(
        self,
        base: str,
        size: tuple[int, int] = WIDE,
        scheme: Scheme = "light",
        *,
        script: bool = True,
    ) -> Visitor:
        """Return a visitor to the pages at this URL, who has no cookies yet.

        script: whether the browser runs any.
        """
        context = await self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            java_script_enabled=script,
            locale="en-GB",
            timezone_id="Asia/Jakarta",
        )
        context.set_default_timeout(PATIENCE)
        await context.add_init_script(_TELL_VIOLATIONS)
        visitor = Visitor(await context.new_page(), base)
        visitor.watch()
        return visitor
