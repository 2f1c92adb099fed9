"""What environments are: the base's defaults, and how a dialogue opens."""

import pytest

from burnish.environments.interface import Environment, opening


def test_the_base_says_what_has_to_be_written() -> None:
    with pytest.raises(NotImplementedError, match="Environment has no reset"):
        Environment().reset({}, 0)
    with pytest.raises(NotImplementedError, match="Environment has no step"):
        Environment().step("")
    assert Environment().close() == 0.0
    assert Environment().counts is not Environment().counts


def test_a_prompt_opens_a_dialogue() -> None:
    assert opening("2 + 2?") == [{"role": "user", "content": "2 + 2?"}]
    assert opening("2 + 2?", "Go.") == [{"role": "user", "content": "2 + 2?\nGo."}]
    assert opening(None, "Go.") == [{"role": "user", "content": "Go."}]
    assert opening(None) == []


def test_messages_open_a_dialogue_and_stay_as_they_are() -> None:
    row = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    assert opening(row, "Go.") == [row[0], {"role": "user", "content": "Hi.\nGo."}]
    assert row[1]["content"] == "Hi."
    assert opening(row[:1], "Go.") == [row[0], {"role": "user", "content": "Go."}]
