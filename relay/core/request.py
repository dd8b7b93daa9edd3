"""Types that nobody changes, and that are cheap to make.

A frozen dataclass of the standard library checks at run time, and writes every field past that
check: making one costs four times as much. Some twenty are made for each delivery, so here it is
the type checker alone that refuses an assignment, as it does for a frozen dataclass.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a dataclass with slots whose fields are set once; equal and hashed by its fields."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
