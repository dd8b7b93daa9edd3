from itertools import combinations

from relay.spool.sqlite.events import Field, digest, seal


def test_fields_that_differ_have_digests_that_differ() -> None:
    different: list[tuple[Field, ...]] = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        ("abc", ""),
        ("abc", None),
        (b"abc",),
        ("a", "s1:b"),
        ("1",),
        (b"1",),
        (1,),
        (1.0,),
        (None,),
        ("",),
        ("", ""),
        (b"", ""),
        ("", b""),
        (b"[]",),
        ("a", b"bc"),
        (b"a", b"bc"),
    ]
    for one, another in combinations(different, 2):
        assert digest(one) != digest(another), (one, another)


def test_a_digest_stays_what_it_was() -> None:
    """Stored checksums are compared with it for as long as events are kept."""
    assert digest(("æ", b"\x00", 7, None)) == (
        "c1b927507ef2933111b7f3c707c08e72046dee70b1e9d2d41a6915365ccc0088"
    )


def test_the_seal_covers_what_the_store_found_out() -> None:
    seals = {seal("d", None, 0), seal("d", "b", 0), seal("d", None, 1), seal("e", None, 0)}
    assert len(seals) == 4
