"""What a reply has to be; each fault alone is in test_served.py, against a server."""

from typing import Any

import pytest
import tiny

from burnish.policies.language.replies import WrongReplyError, check_facts, completions, problem_of, short

POLICY = tiny.make_policy("gpt2", double=False)


def reply(*rows: tuple[list[int], list[float], str]) -> dict[str, Any]:
    return {
        "choices": [
            {
                "index": i,
                "prompt_token_ids": [0, i],
                "token_ids": ids,
                "logprobs": {"token_logprobs": values},
                "finish_reason": finish,
            }
            for i, (ids, values, finish) in enumerate(rows)
        ]
    }


def test_ids_and_log_probabilities_are_read() -> None:
    good = reply(([5, 1], [-1.0, -2], "stop"), ([5, 6, 7], [-1.0, -0.5, 0.0], "length"))
    found = completions(good, [[0, 0], [0, 1]], [3, 3], POLICY)
    assert found == [([5, 1], [-1.0, -2.0]), ([5, 6, 7], [-1.0, -0.5, 0.0])]
    assert all(type(value) is float for _, row in found for value in row)


@pytest.mark.parametrize(
    ("ids", "values", "finish", "said"),
    [
        ([5, 6], [-1.0], "length", "with 2 tokens and 1 log-probabilities"),
        ([], [], "length", "without tokens of the vocabulary"),
        ([True], [-1.0], "length", "without tokens of the vocabulary"),
        ([99], [-1.0], "length", "without tokens of the vocabulary"),
        ([1, 5], [-1.0, -1.0], "length", "goes on behind its end"),
        ([5], [-1.0], "length", "with 1 tokens, no end, and a limit of 3"),
        ([5, 6, 7, 8], [-1.0] * 4, "length", "with 4 tokens, no end, and a limit of 3"),
        ([5, 6, 7], [-1.0] * 3, "stop", "finished by 'stop' and lacks an end"),
        ([5, 1], [-1.0] * 2, "length", "finished by 'length' and has an end"),
        ([5, 6, 7], [-1.0, 0.1, -1.0], "length", "log-probabilities that are none"),
    ],
)
def test_what_no_sampler_would_give_is_named(ids: list[Any], values: list[float], finish: str, said: str) -> None:
    assert said in str(problem_of(ids, values, 3, finish, tiny.VOCABULARY, POLICY))
    with pytest.raises(WrongReplyError, match="gives a completion 0 "):
        completions(reply((ids, values, finish)), [[0, 0]], [3], POLICY)


def test_wrong_weights_may_be_handed_over_again_and_nothing_else() -> None:
    expected = {"weights_version": 3, "model": "a"}
    check_facts({"weights_version": 3, "model": "a", "more": 1}, expected)
    with pytest.raises(WrongReplyError, match="answers with the weights of version 2 and not 3") as caught:
        check_facts({"weights_version": 2, "model": "a"}, expected)
    assert caught.value.stale
    with pytest.raises(WrongReplyError, match="answers with the model nothing and not a") as caught:
        check_facts({"weights_version": 3}, expected)
    assert not caught.value.stale
    with pytest.raises(WrongReplyError, match="version True and not 1"):
        check_facts({"weights_version": True}, {"weights_version": 1})
    assert short("0123456789" * 4) == "012345678901…"
