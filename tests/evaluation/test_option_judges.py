"""Judges that give the probability of exactly two option tokens, against a forward pass written out."""

import math
from typing import Any

import judge_servers
import pytest
import tiny
import torch
from judge_servers import Seen, Status, judge_server
from served import serving

from burnish.evaluation.option_judges import PolicyOptions, Question, ServerOptions, in_reply, reasoning, share
from burnish.evaluation.readings import FAILED, READ, UNREAD, Reading
from burnish.policies.language.policy import LanguagePolicy
from burnish.run import UserError

WORDS = (*tiny.WORDS, "(A", "(B")
QUESTIONS = [Question(text) for text in ("the film is good", "the plot was very dull and not fine", "bad")]


def judge(chat: bool = False, **changes: Any) -> PolicyOptions:
    model = tiny.make_model("llama", vocab_size=len(WORDS) + 3, **changes).double()
    tokenizer = tiny.make_tokenizer(WORDS)
    if chat:
        tokenizer.chat_template = tiny.make_chat_tokenizer().chat_template
    return PolicyOptions("tiny", LanguagePolicy(model, tokenizer), "tiny")


def top(**logprobs: float) -> dict[str, Any]:
    """A reply with these likeliest tokens."""
    listed = [{"token": token, "logprob": number} for token, number in logprobs.items()]
    return {"choices": [{"message": {"content": "A"}, "logprobs": {"content": [{"top_logprobs": listed}]}}]}


def test_the_share_is_the_first_option_s_probability_among_the_two() -> None:
    """Probabilities 0.6 and 0.2 of all tokens: 0.6 / 0.8 = 0.75."""
    assert share((math.log(0.6), math.log(0.2))) == pytest.approx(0.75, abs=1e-15)
    assert share((math.log(0.2), math.log(0.6))) == pytest.approx(0.25, abs=1e-15)
    assert (share((-2000.0, 0.0)), share((0.0, -2000.0)), share((-9.0, -9.0))) == (0.0, 1.0, 0.5)


def test_log_probabilities_are_those_of_the_two_tokens_after_the_question() -> None:
    """The oracle runs the model on each question alone and reads the last place's softmax at both options."""
    one = judge()
    found = dict(one(QUESTIONS))
    for number, question in enumerate(QUESTIONS):
        ids = one.policy.tokenizer(f"{question.text}\n\nThe answer is:")["input_ids"]
        logprobs = one.policy.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        expected = (logprobs[WORDS.index("(A") + 3].item(), logprobs[WORDS.index("(B") + 3].item())
        assert found[number].logprobs == pytest.approx(expected, abs=1e-9)
        assert (found[number].kind, found[number].requests) == (READ, 1)


def test_a_chat_model_begins_its_own_answer() -> None:
    """Its template writes `the`, the question, `plot`, `a`, and the answer, which is not ended."""
    one = judge(chat=True)
    ((first, second),) = one.rows([Question("film")])
    words = ["<s>", "</s>", "<unk>", *WORDS]
    said = [words[token] for token in first]
    assert said[:2] == ["the", "film"]
    assert said[-6:-4] == ["plot", "a"]
    assert said[-1] == "(A"
    assert [words[token] for token in second] == [*said[:-1], "(B"]


def test_a_judge_that_reasons_reads_its_thought_before_the_options() -> None:
    """Without a template the thought stands behind its request; with one it is a turn of the judge's own."""
    thought = Question("the film", " was dull")
    one = judge()
    text = "the film\n\nLet's think step by step: was dull\n\nThe answer is:"
    assert one.rows([thought])[0][0][:-1] == one.policy.tokenizer(text)["input_ids"]
    assert [message["role"] for message in thought.messages] == ["user", "assistant", "user"]
    assert thought.messages[0] == reasoning("the film").messages[0]
    assert thought.messages[1:] == [
        {"role": "assistant", "content": " was dull"},
        {"role": "user", "content": "Which option is better? Say A or B, and nothing else."},
    ]
    chat = judge(chat=True)
    words = ["<s>", "</s>", "<unk>", *WORDS]
    said = [words[token] for token in chat.rows([thought])[0][0]]
    assert "plot a was dull plot the" in " ".join(said)
    with judge_server(lambda seen: top(A=-0.5, B=-1.0)) as log:
        list(ServerOptions(log.url, "ruler")([thought]))
    assert log.requests[0].body["messages"] == thought.messages


def test_what_is_too_long_is_not_read_and_nothing_is_cut() -> None:
    one = judge()
    found = dict(one([QUESTIONS[0], Question("good " * tiny.CONTEXT), QUESTIONS[2]]))
    assert [found[i].kind for i in range(3)] == [READ, UNREAD, READ]
    assert found[1].problem == f"the question has {tiny.CONTEXT + 5} tokens, and the judge reads {tiny.CONTEXT}"
    assert [found[i].requests for i in range(3)] == [1, 0, 1]
    alone = dict(one([QUESTIONS[2]]))[0]
    assert found[2].logprobs == pytest.approx(alone.logprobs, abs=1e-12)


def test_what_the_template_rejects_is_not_read_and_the_others_are() -> None:
    one = judge(chat=True)
    tokenizer = one.policy.tokenizer
    tokenizer.chat_template = tiny.REJECTING + str(tokenizer.chat_template)
    found = dict(one([QUESTIONS[0], Question("really dull"), QUESTIONS[2]]))
    assert found[1] == Reading(None, "the chat template rejects its messages (nothing is really so)", requests=0)
    alone = dict(judge(chat=True)([QUESTIONS[2]]))[0]
    assert found[2].logprobs == pytest.approx(alone.logprobs, abs=1e-12)
    assert found[0].kind == READ


def test_options_that_are_the_same_token_are_refused() -> None:
    one = PolicyOptions("tiny", tiny.make_policy("llama"), "tiny")
    with pytest.raises(UserError, match="tokenizer of tiny does not write the options A and B as one token each"):
        list(one(QUESTIONS))


def test_a_reply_is_read_exactly_or_not_at_all() -> None:
    assert in_reply(top(A=-0.5, B=-1.5)).logprobs == (-0.5, -1.5)
    assert in_reply(top(B=-0.5, a=-0.1, A=-2.0)).logprobs == (-2.0, -0.5)
    missing = in_reply(top(A=-0.1, Both=-3.0))
    assert (missing.kind, missing.refused) == (UNREAD, False)
    assert missing.problem == "B not among the 2 likeliest tokens ('A', 'Both')"
    for reply in ({}, {"choices": []}, {"choices": [{"logprobs": None}]}, [], top() | {"choices": [{"logprobs": 3}]}):
        found = in_reply(reply)
        assert (found.logprobs, found.kind, found.refused) == (None, UNREAD, True)
        assert found.problem.startswith("a reply without the likeliest tokens: ")


@pytest.mark.parametrize("number", [10**400, -(10**400), 800.0, 1e-5, math.nan, -math.inf])
def test_a_number_that_is_no_log_probability_is_not_read(number: float) -> None:
    found = in_reply(top(A=number, B=-1.0))
    assert (found.logprobs, found.kind, found.refused) == (None, UNREAD, False)
    assert found.problem.startswith("the judge's log-probabilities of A and B are ")
    assert in_reply(top(A=-0.5, B=-1.0, C=number)).logprobs == (-0.5, -1.0)
    assert in_reply(top(A=5e-7, B=-20.0)).kind == READ  # rounding


def test_a_server_is_asked_for_one_token_and_the_likeliest() -> None:
    with judge_server(lambda seen: top(A=-0.5, B=-1.0)) as log:
        found = dict(ServerOptions(log.url, "ruler")([Question("which?"), Question("and now?")]))
    assert found == {0: Reading((-0.5, -1.0)), 1: Reading((-0.5, -1.0))}
    body = log.requests[0].body
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"], body["temperature"]) == (1, True, 20, 0)
    assert {seen.body["messages"][0]["content"] for seen in log.requests} == {
        f"{text}\n\nWhich option is better? Say A or B, and nothing else." for text in ("which?", "and now?")
    }


def test_our_own_server_can_be_the_judge() -> None:
    """The oracle runs the model on the rendered question and reads the last place's softmax."""
    words = (*tiny.WORDS, "A", "B")
    tokenizer = tiny.make_tokenizer(words)
    tokenizer.add_special_tokens({"sep_token": "plot"})
    tokenizer.chat_template = tiny.make_chat_tokenizer().chat_template
    policy = LanguagePolicy(tiny.make_model("llama", vocab_size=len(words) + 3), tokenizer)
    with serving(policy) as server:
        found = dict(ServerOptions(f"{server.url}/v1", "tiny")(QUESTIONS))
    for number, question in enumerate(QUESTIONS):
        ids = tokenizer.apply_chat_template(question.messages, add_generation_prompt=True)["input_ids"]
        logprobs = policy.model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
        expected = tuple(logprobs[words.index(option) + 3].item() for option in "AB")
        assert found[number].logprobs == pytest.approx(expected, abs=1e-5)


def test_a_failure_is_tried_again_within_the_budget_and_then_said() -> None:
    def late(seen: Seen) -> Any:
        if len(log.requests) < 3:
            raise Status(429)
        return top(A=-0.5, B=-1.0)

    with judge_server(late) as log:
        assert dict(ServerOptions(log.url, "ruler", pause=0.0)([Question("q")])) == {
            0: Reading((-0.5, -1.0), requests=3)
        }
    with judge_server(lambda seen: b"<html>") as log:
        found = dict(ServerOptions(log.url, "ruler", pause=0.0)([Question("q"), Question("r")], most=5))
        assert len(log.requests) == 4  # two tries each, as a third would be six
    assert all((one.kind, one.requests) == (FAILED, 2) for one in found.values())
    assert "the response is not JSON" in found[0].problem


@pytest.mark.parametrize(("status", "kind", "requests"), [(400, UNREAD, 1), (500, FAILED, 3), (401, FAILED, 1)])
def test_a_refusal_is_not_repeated(status: int, kind: str, requests: int) -> None:
    def rule(seen: judge_servers.Seen) -> Any:
        raise Status(status)

    with judge_server(rule) as log:
        found = dict(ServerOptions(log.url, "ruler", pause=0.0)([Question("q")]))[0]
    assert (found.kind, found.requests, len(log.requests)) == (kind, requests, requests)
    assert f"HTTP {status}" in found.problem
    assert found.refused == (status == 400)
