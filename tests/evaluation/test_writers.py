"""Texts of a model in this process and of a served one, against the sampler."""

import hashlib
import json
from typing import Any

import pytest
import tiny
from judge_servers import Seen, Status, judge_server
from served import serving

from burnish.evaluation.readings import FAILED, READ, UNREAD, Reading
from burnish.evaluation.writers import PolicyWriter, ServerWriter, Talk, in_text
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.run.web import Peer

PEER = Peer("the scribe", "--scribe", "SCRIBE_KEY")
WORDS = ("<s>", "</s>", "<unk>", *tiny.WORDS)


def talk(text: str, **others: Any) -> Talk:
    return Talk([{"role": "user", "content": text}], text, **others)


TALKS = [talk(text) for text in ("the film", "very dull", "a great plot is not bad")]


def chat_policy() -> LanguagePolicy:
    """Its answers end with `plot`, 6, or with 1."""
    return LanguagePolicy(tiny.make_model("llama").double(), tiny.make_chat_tokenizer("a"))


def stream(one: Talk, most: int = 2**62) -> int:
    asked = json.dumps([list(one.messages), one.text, dict(one.options)], sort_keys=True)
    return int(hashlib.sha256(asked.encode()).hexdigest(), 16) % most


def text_of(tokens: list[int]) -> str:
    """The words of an answer, without its end and the template's words."""
    return " ".join(WORDS[token] for token in tokens if token not in (0, 1, 2, 6, 7))


def test_a_chat_models_text_is_the_samplers_on_the_rendered_messages() -> None:
    policy = chat_policy()
    found = dict(PolicyWriter("tiny", policy, "c", 12, seed=3)(TALKS))
    for number, one in enumerate(TALKS):
        ids = policy.tokenizer.apply_chat_template(list(one.messages), add_generation_prompt=True)["input_ids"]
        own = sample(policy, [ids], seed=3, max_new_tokens=12, streams=[stream(one)])
        assert found[number].text == text_of(own.tokens[0])
    assert dict(PolicyWriter("tiny", policy, "c", 12, seed=3)(TALKS[1:2]))[0] == found[1]  # alone
    assert dict(PolicyWriter("tiny", policy, "c", 12, seed=4)(TALKS)) != found


def test_a_model_without_a_template_goes_on_with_the_text_up_to_a_stop() -> None:
    """The stop is the first word of the first text that differs from its beginning."""
    policy = tiny.make_policy("llama")
    ids = [policy.tokenizer(one.text)["input_ids"] for one in TALKS]
    own = sample(policy, ids, seed=0, max_new_tokens=20, streams=[stream(one) for one in TALKS])
    texts = [[WORDS[token] for token in tokens if token > 2] for tokens in own.tokens]
    stop = next(word for word in texts[0] if word != texts[0][0])
    found = dict(PolicyWriter("tiny", policy, "c", 20, stops=(stop,))([talk(one.text, whole=True) for one in TALKS]))
    assert found[0].kind == READ
    for number, words in enumerate(texts):
        before = words[: words.index(stop)] if stop in words else words
        assert (found[number].text or "").split() == before


def test_temperature_0_is_the_likeliest_whatever_the_seed() -> None:
    policy = chat_policy()
    found = [dict(PolicyWriter("tiny", policy, "c", 6, temperature=0.0, seed=seed)(TALKS)) for seed in (0, 1)]
    assert found[0] == found[1]
    ids = policy.tokenizer.apply_chat_template(list(TALKS[0].messages), add_generation_prompt=True)["input_ids"]
    own = sample(policy, [ids], seed=9, max_new_tokens=6, top_k=1)
    assert found[0][0].text == text_of(own.tokens[0])


def test_a_text_that_has_to_be_whole_and_is_not_is_kept_with_the_reason() -> None:
    """After two words a text has seldom ended; those that have are read."""
    policy = chat_policy()
    rows = [talk(text, whole=whole) for text in tiny.sentences(12) for whole in (False, True)]
    found = dict(PolicyWriter("tiny", policy, "c", 2)(rows))
    problems = {found[number].problem for number in range(1, 24, 2)}
    assert "no end within 2 tokens" in problems
    for number in range(0, 24, 2):
        part, whole = found[number], found[number + 1]
        assert part.text == whole.text
        assert part.problem in ("", "an empty answer")
        assert (whole.kind == READ) == (whole.problem == "")


def test_what_leaves_no_room_is_not_asked() -> None:
    policy = chat_policy()
    long = talk("good " * tiny.CONTEXT)
    found = dict(PolicyWriter("tiny", policy, "c", 4)([TALKS[0], long]))
    problem = f"the question has {tiny.CONTEXT + 3} tokens, and the model reads {tiny.CONTEXT}"
    assert found[1] == Reading(None, problem, requests=0)
    assert found[0] == dict(PolicyWriter("tiny", policy, "c", 4)(TALKS))[0]
    assert dict(PolicyWriter("tiny", policy, "c", 4)([long]))[0].problem == problem


def test_what_the_template_rejects_is_not_asked_and_the_others_are() -> None:
    policy = chat_policy()
    policy.tokenizer.chat_template = tiny.REJECTING + str(policy.tokenizer.chat_template)
    found = dict(PolicyWriter("tiny", policy, "c", 4)([TALKS[0], talk("really dull"), TALKS[2]]))
    assert found[1] == Reading(None, "the chat template rejects its messages (nothing is really so)", requests=0)
    own = dict(PolicyWriter("tiny", chat_policy(), "c", 4)(TALKS))
    assert (found[0], found[2]) == (own[0], own[2])


def test_how_a_text_is_drawn_is_part_of_who_writes() -> None:
    policy = chat_policy()
    every = [PolicyWriter("tiny", policy, "c", 4), PolicyWriter("tiny", policy, "d", 4)]
    every += [PolicyWriter("tiny", policy, "c", 5), PolicyWriter("tiny", policy, "c", 4, 0.5)]
    every += [PolicyWriter("tiny", policy, "c", 4, 1.0, 7)]
    assert len({one.identity for one in every}) == 5
    assert ServerWriter("http://h/v1", "m", peer=PEER).identity == "m at http://h/v1, 512 tokens, temperature 1, seed 0"


@pytest.mark.parametrize(
    ("said", "ended", "whole", "text", "problem"),
    [
        (" yes", True, True, " yes", ""),
        (" yes", False, False, " yes", ""),
        (" yes", False, True, " yes", "no end within 9 tokens"),
        (" \n", True, False, " \n", "an empty answer"),
        ("", False, True, "", "an empty answer"),
        ("<think>Hm.</think>\n\nyes", True, True, "yes", ""),
        ("Hm.</think> yes", True, True, "yes", ""),
        ("<think>Hm.", False, False, "<think>Hm.", "a thought without an end within 9 tokens"),
        ("<think>Hm.</think>", True, False, "", "an empty answer"),
    ],
)
def test_a_text_is_what_comes_after_a_thought(said: str, ended: bool, whole: bool, text: str, problem: str) -> None:
    assert in_text(said, ended, whole, 9) == Reading(None, problem, text=text)


@pytest.mark.parametrize(
    ("said", "begun", "text", "problem"),
    [
        ("Hm. It is", True, "Hm. It is", "a thought without an end within 9 tokens"),
        ("Hm.[/THINK] yes", True, "yes", ""),
        ("[THINK]Hm.[/THINK] yes", False, "yes", ""),
        ("<thinking>Hm.", False, "<thinking>Hm.", "a thought without an end within 9 tokens"),
        ("<|START_THINKING|>Hm.<|END_THINKING|>yes", False, "yes", ""),
        ("yes \ud800", False, "yes \ud800", "a text with half of a surrogate pair"),
    ],
)
def test_a_thought_has_the_tags_of_any_family(said: str, begun: bool, text: str, problem: str) -> None:
    assert in_text(said, True, True, 9, begun=begun) == Reading(None, problem, text=text)


@pytest.mark.parametrize("tags", [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
@pytest.mark.parametrize("special", [False, True])
def test_a_thought_that_the_template_opens_is_not_the_answer(tags: tuple[str, str], special: bool) -> None:
    """The oracle reads the sampled words: what stands behind the last end of a thought is the text."""
    words = (*tiny.WORDS, *tags)
    tokenizer = tiny.make_tokenizer(words)
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": list(tags)})
    tokenizer.chat_template = (
        "{% for m in messages %}the {{ m.content.split('" + tags[1] + "')[-1] }} plot {% endfor %}"
        "{% if add_generation_prompt %}a " + tags[0] + "\n{% endif %}"
    )
    policy = LanguagePolicy(tiny.make_model("llama", vocab_size=3 + len(words)).double(), tokenizer)
    talks = [talk(text) for text in tiny.sentences(12)]
    found = dict(PolicyWriter("tiny", policy, "c", 8)(talks))
    problems = set()
    for number, one in enumerate(talks):
        ids = tokenizer.apply_chat_template(list(one.messages), add_generation_prompt=True)["input_ids"]
        tokens = sample(policy, [ids], seed=0, max_new_tokens=8, streams=[stream(one)]).tokens[0]
        said = [words[token - 3] for token in tokens if token > 2]
        after = " ".join(said).rpartition(tags[1])
        thinks = not after[1] or tags[0] in after[2]
        assert (found[number].problem == "a thought without an end within 8 tokens") == thinks
        assert thinks or (found[number].text or "").split() == after[2].split()
        problems.add(thinks)
    assert problems == {False, True}


def reply(content: Any, reason: str | None = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}, "finish_reason": reason}]}


def test_a_server_is_sent_the_messages_and_a_seed_of_their_own() -> None:
    with judge_server(lambda _: reply(" yes \n")) as log:
        writer = ServerWriter(log.url, "ruler", peer=PEER, max_new_tokens=7, temperature=0.25, seed=2)
        assert dict(writer(TALKS[:2])) == {0: Reading(None, text="yes"), 1: Reading(None, text="yes")}
    for seen in log.requests:
        one = next(one for one in TALKS if list(one.messages) == seen.body["messages"])
        assert seen.body["seed"] == (stream(one, 2**31) + 2) % 2**31
        assert (seen.body["max_tokens"], seen.body["temperature"], seen.body["model"]) == (7, 0.25, "ruler")


@pytest.mark.parametrize(
    ("answer", "kind", "refused", "said"),
    [
        (reply("yes", "length"), UNREAD, False, "no end within 512 tokens"),
        *(
            (reply("yes", reason), UNREAD, False, f"no end: the server stopped with '{reason}'")
            for reason in ("content_filter", "tool_calls", "error", "abort")
        ),
        *((reply("yes", reason), READ, False, "") for reason in (None, "stop", "eos")),
        (reply(None), UNREAD, False, "an empty answer"),
        (reply(""), UNREAD, False, "an empty answer"),
        (reply(["yes"]), UNREAD, True, "a reply without a message: "),
        ({"choices": []}, UNREAD, True, "a reply without a message: "),
        ({"error": "busy"}, FAILED, False, 'the response is an error: {"error": "busy"}'),
        ({"error": None}, UNREAD, True, 'a reply without a message: {"error": null}'),
        ([], UNREAD, True, "a reply without a message: []"),
        (400, UNREAD, True, "HTTP 400"),
        (429, FAILED, False, "HTTP 429"),
        (500, FAILED, False, "HTTP 500"),
        (b"<html>", FAILED, False, "the response is not JSON"),
        (b"", FAILED, False, "the response is not JSON"),
    ],
)
def test_a_reply_that_is_none_says_why(answer: Any, kind: str, refused: bool, said: str) -> None:
    def rule(_: Seen) -> Any:
        if isinstance(answer, int):
            raise Status(answer)
        return answer

    with judge_server(rule) as log:
        (found,) = dict(ServerWriter(log.url, "ruler", pause=0.0, peer=PEER)([talk("q", whole=True)])).values()
    assert (found.kind, found.refused) == (kind, refused)
    assert found.problem.startswith(said)
    assert found.requests == (3 if kind == FAILED else 1)


def test_our_own_server_writes_what_the_sampler_draws() -> None:
    policy = LanguagePolicy(tiny.make_model("llama"), tiny.make_chat_tokenizer("a"))
    with serving(policy) as server:
        found = dict(ServerWriter(f"{server.url}/v1", "tiny", peer=PEER, max_new_tokens=12)(TALKS))
    for number, one in enumerate(TALKS):
        ids = policy.tokenizer.apply_chat_template(list(one.messages), add_generation_prompt=True)["input_ids"]
        own = sample(policy, [ids], seed=stream(one, 2**31), max_new_tokens=12)
        assert found[number].text == text_of(own.tokens[0])
