"""What every test of a study is run with."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from burnish.data import builtin
from burnish.recipes.train.rows import BUILTIN

from .worlds import narrow

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


@pytest.fixture(scope="session")
def narrow_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return narrow(tmp_path_factory.mktemp("models") / "narrow")


@pytest.fixture(scope="module")
def plan(request: pytest.FixtureRequest, narrow_model: str) -> Any:
    """The `PLAN` of the test's module, with a model that is small enough."""
    return replace(request.module.PLAN, model=narrow_model)


@pytest.fixture(scope="module")
def done(request: pytest.FixtureRequest, plan: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the `STUDY` of the test's module, once it is done with the plan."""
    out = tmp_path_factory.mktemp("study") / "done"
    request.module.STUDY(out, plan, jobs=1, quiet=True)
    return out
