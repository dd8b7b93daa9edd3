"""The pages as people use them: a real relay, Debian's chromium, and what it has to say.

`pytest -m browser` runs them; `python -m tests.browser.screenshots FOLDER` writes a picture of each
page at two widths, light and dark.
"""
