"""A browser without script: what it asks for, and what is in the pages that it gets."""

from tests.admin.test_server import TOKEN, Bench

#: What a browser says that it reads.
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def form_token(page: str) -> str:
    """Return what the forms of a page send along."""
    return page.partition('name="form_token" value="')[2].partition('"')[0]


async def sign_in(bench: Bench, token: str = TOKEN) -> str:
    """Open a session; return the token of its forms."""
    status, _ = await bench.post("/login", data={"token": token}, headers=HTML)
    assert status == 303
    return form_token(await page(bench, "/events"))


async def page(bench: Bench, path: str, expected: int = 200) -> str:
    """Return a page."""
    status, text = await bench.get(path, headers=HTML)
    assert status == expected, bench.log()
    return text
