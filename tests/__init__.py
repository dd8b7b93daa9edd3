import pytest

# Before anything imports them: an assertion in a contract says as much as one in a test.
pytest.register_assert_rewrite("tests.contracts")
