"""What every test of a study is run with."""

from collections.abc import Iterator

import pytest
from datasets import Dataset

from burnish.data import builtin
from burnish.recipes.train.rows import BUILTIN

IMITATED = 64
"""Of thousands: to tokenise all of them takes longer than the rest of a very small study, which learns from 32."""


@pytest.fixture(scope="module", autouse=True)
def less_to_imitate() -> Iterator[None]:
    """A study's start is trained on the first of the built-in reviews."""
    whole = builtin.demonstrations

    def first(name: str) -> Dataset:
        return whole(name).select(range(IMITATED)) if name == "train" else whole(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin, "demonstrations", first)
        patch.setitem(BUILTIN, "demonstrations", first)
        yield
