"""The steps of a chain, written out."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from burnish.evaluation.readings import Reading
from burnish.recipes.constitution.chains import Chain, Prompt, Step, once, prompts_in
from burnish.recipes.constitution.principles import Principle
from burnish.run import UserError

KIND, TRUE = (
    Principle("Be kind.", "Is it kind?", "Make it kind."),
    Principle("Be true.", "Is it true?", "Make it true."),
)
PROMPT = Prompt(3, [{"role": "user", "content": "Hi"}], {"tools": ["t"], "mood": "good"})


def told(chain: Chain, *said: str) -> dict[str, Reading]:
    """The readings of the first steps, in order."""
    found: dict[str, Reading] = {}
    for text in said:
        step, _ = list(chain.steps(found))[-1]
        found[step.key] = Reading(None, text=text)
    return found


def test_each_round_criticizes_and_revises_the_latest_answer() -> None:
    chain = Chain(PROMPT, (KIND, TRUE), "m")
    readings = told(chain, "one", "rude", "two", "wrong", "three")
    steps = list(chain.steps(readings))
    assert [said for _, said in steps] == ["one", "rude", "two", "wrong", "three"]
    assert [(step.kind, step.round) for step, _ in steps] == [
        ("answer", 0),
        ("critique", 1),
        ("revision", 1),
        ("critique", 2),
        ("revision", 2),
    ]
    assert steps[0][0].asked.messages == PROMPT.value
    last = [
        ("user", "Hi"),
        ("assistant", "two"),
        ("user", "Is it true?"),
        ("assistant", "wrong"),
        ("user", "Make it true."),
    ]
    assert [(one["role"], one["content"]) for one in steps[-1][0].asked.messages] == last
    assert [step.asked.whole for step, _ in steps] == [False, False, True, False, True]
    assert all(step.asked.options == PROMPT.options for step, _ in steps)
    assert chain.reached(readings) == [step for step, _ in steps]
    assert steps[1][0].facts == {
        "prompt": PROMPT.key,
        "source": "",
        "row": 3,
        "round": 1,
        "step": "critique",
        "principle": "Be kind.",
        "model": "m",
    }


def test_without_a_template_the_chain_is_one_text() -> None:
    chain = Chain(Prompt(0, "Why?"), (KIND, TRUE), "m")
    steps = list(chain.steps(told(chain, " So.", " Rude.", " Please.", " Wrong.")))
    texts = [step.asked.text for step, _ in steps]
    assert texts[0] == "Why?"
    assert texts[1] == "Why? So.\n\nCritique request: Is it kind?\n\nCritique:"
    assert texts[2] == texts[1] + " Rude.\n\nRevision request: Make it kind.\n\nRevision:"
    assert texts[3] == "Why? Please.\n\nCritique request: Is it true?\n\nCritique:"
    assert steps[-1][1] == ""  # not asked yet


def test_a_chain_ends_where_an_answer_cannot_be_used() -> None:
    chain = Chain(PROMPT, (KIND,), "m")
    readings = told(chain, "one")
    (_, said), (critique, missing) = chain.steps(readings)
    assert (said, missing) == ("one", "")
    readings[critique.key] = Reading(None, "an empty answer", text=" ")
    assert [text for _, text in chain.steps(readings)] == ["one", ""]
    assert chain.reached(readings)[-1] == critique


def test_steps_with_another_model_prompt_or_talk_have_other_keys() -> None:
    chains = [Chain(PROMPT, (KIND,), "m"), Chain(PROMPT, (KIND,), "n"), Chain(Prompt(3, PROMPT.value), (KIND,), "m")]
    keys = {step.key for chain in chains for step, _ in chain.steps(told(chain, "one", "rude", "two"))}
    assert len(keys) == 9
    assert Step(PROMPT, "answer", 0, None, "m", chains[0].talk("answer", None, "", "")).key in keys


def test_principles_are_drawn_by_seed_prompt_and_round() -> None:
    every = (KIND, TRUE)
    prompts = [Prompt(i, f"p{i}") for i in range(200)]
    found = [Chain.of(one, every, 3, 0, "m").principles for one in prompts]
    assert found == [Chain.of(one, every, 3, 0, "n").principles for one in prompts]
    assert all(
        Chain.of(one, every, 2, 0, "m").principles == three[:2] for one, three in zip(prompts, found, strict=True)
    )
    assert len(set(found)) == 8  # all of 2³
    assert found != [Chain.of(one, every, 3, 1, "m").principles for one in prompts]


def read(folder: Path, rows: list[dict[str, Any]], chat: bool, tokenizer: Any = None) -> list[Prompt]:
    return prompts_in(str(tiny.write_rows(folder / "prompts.jsonl", rows)), None, chat, tokenizer)


def test_prompts_are_read_once_each(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    rows = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}]
    source = str(tmp_path / "prompts.jsonl")
    found = read(tmp_path, rows, False)
    assert found == [Prompt(i, text, source=source) for i, text in enumerate("aba")]
    assert once(found) == found[:2]
    assert read(tmp_path, rows, True)[1] == Prompt(1, [{"role": "user", "content": "b"}], source=source)
    assert read(tmp_path, [{"prompt": talk}], True) == [Prompt(0, talk, source=source)]
    (own,) = read(tmp_path, [{"prompt": talk, "chat_template_kwargs": {"mood": "good"}}], True)
    assert own.options == {"mood": "good"}
    assert own.columns() == {"chat_template_kwargs": {"mood": "good"}}
    assert own.key != Prompt(0, talk).key
    tokenizer = tiny.make_chat_tokenizer()
    tokenizer.chat_template = "{{ mood }}" + str(tokenizer.chat_template)
    (named,) = read(tmp_path, [{"prompt": talk, "mood": "bad"}], True, tokenizer)
    assert named.options == {"mood": "bad"}


@pytest.mark.parametrize(
    ("prompt", "chat", "said"),
    [
        ([{"role": "user", "content": "Hi"}], False, "row 0: the prompt is a conversation, and the model has no chat"),
        (
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "So"}],
            True,
            "row 0: the prompt ends with the assistant's words: end it with a message of the user",
        ),
    ],
)
def test_a_prompt_that_cannot_be_answered_is_one_sentence(tmp_path: Path, prompt: Any, chat: bool, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(tmp_path, [{"prompt": prompt}], chat)
