"""Coroutines of environments; tests/environments/test_tools.py has those of tools, limits of time and notebooks."""

import asyncio

import pytest

from burnish.environments.coroutines import awaited, loop_of


async def slow(found: list[str]) -> str:
    try:
        await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        found.append("cancelled")
        raise
    return "done"


def test_what_is_no_coroutine_is_itself() -> None:
    assert awaited(3) == 3
    assert awaited(slow([])) == "done"


def test_a_coroutine_that_is_interrupted_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    async def interrupted() -> None:
        asyncio.get_running_loop().call_soon(stop)
        await slow(found)

    def stop() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        awaited(interrupted())
    assert awaited(slow([])) == "done"  # in the same loop, where the other one ends first
    assert found == ["cancelled"]


def test_another_process_has_another_loop() -> None:
    assert loop_of(1) is loop_of(1)
    assert loop_of(1) is not loop_of(2)
    for number in (1, 2):
        loop_of(number).close()
