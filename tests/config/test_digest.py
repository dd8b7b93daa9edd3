"""Two processes of one configuration have one digest, whatever its secrets are."""

from relay.config.digest import LENGTH, digest
from tests.config.files import BUILT_IN, ENVIRON, GOOD, INLINE, changed, good


def test_it_is_the_same_each_time_and_that_of_no_other_configuration() -> None:
    texts = (GOOD, changed((BUILT_IN, INLINE)), changed(("8081", "8082")))
    found = [digest(good(text)) for text in texts]
    assert [digest(good(text)) for text in texts] == found
    assert len(set(found)) == len(texts)
    assert {len(each) for each in found} == {LENGTH}


def test_neither_comments_nor_secrets_are_part_of_it() -> None:
    known = digest(good(GOOD))
    assert digest(good(f"# A remark\n\n{GOOD}")) == known
    assert digest(good(GOOD, {**ENVIRON, "KEY": "Mid-server-2"})) == known
