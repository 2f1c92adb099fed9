"""Dialogues rendered piece by piece have the ids that the whole conversation has, in every template that allows it."""

from typing import Any

import pytest

from burnish.data.turns import Turns
from burnish.ends import ends_of
from burnish.run import UserError

from .tokenizers_on_the_spot import CHATML, FORGETFUL, LLAMA, ids, make

# Writes tools, calls and their answers; a call ends with another token than an answer.
TOOLS = (
    "{% if tools %}tools:{% for t in tools %}{{ t['name'] }}{% endfor %}\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}<call>{{ c['function']['name'] }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Writes an empty thought before the last answer alone, as Qwen 3 does.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Leaves out what is said beside a call.
CURT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if not m['tool_calls'] %}{{ m['content'] }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASK, SAY, HEAR = (
    {"role": role, "content": text} for role, text in (("user", "a b"), ("assistant", "c"), ("user", "d"))
)


def chat(template: str) -> Any:
    tokenizer = make(template=CHATML, eos="<|im_end|>") if template != LLAMA else make(template=LLAMA)
    tokenizer.chat_template = template
    return tokenizer


def turns_of(tokenizer: Any) -> Turns:
    return Turns.of(tokenizer, ends_of(tokenizer).ids)


@pytest.mark.parametrize("template", [CHATML, LLAMA, TOOLS, THINKING, CURT])
def test_pieces_and_whole_are_the_same_ids(template: str) -> None:
    tokenizer = chat(template)
    turns = turns_of(tokenizer)
    first, between = turns.first([ASK], [], "row 0"), turns.between([HEAR], [], "row 0")
    said = tokenizer(" c" if template == LLAMA else "c", add_special_tokens=False)["input_ids"]
    whole = tokenizer.apply_chat_template([ASK, SAY, HEAR], add_generation_prompt=True, return_dict=False)
    assert first + said + [tokenizer.eos_token_id] + between == whole


def test_the_ids_between_two_answers_by_hand() -> None:
    tokenizer = chat(CHATML)
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|im_end|>"))
    expected = [*ids("\n"), start, *ids("user\nd"), end, *ids("\n"), start, *ids("assistant\n")]
    assert turns_of(tokenizer).between([HEAR], [], "row 0") == expected


def test_tools_are_in_the_opening_and_their_answers_behind_a_call() -> None:
    tokenizer = chat(TOOLS)
    turns = turns_of(tokenizer)
    assert tokenizer.decode(turns.first([ASK], [{"name": "add"}], "row 0")).startswith("tools:add<|im_start|>")
    heard = turns.between([{"role": "tool", "name": "add", "content": "4"}], [{"name": "add"}], "row 0")
    assert tokenizer.decode(heard) == "\n<|im_start|>tool\n4<|im_end|>\n<|im_start|>assistant\n"


def test_a_template_that_leaves_out_words_beside_a_call_is_asked_without_one() -> None:
    heard = turns_of(chat(CURT)).between([{"role": "tool", "name": "add", "content": "4"}], [], "row 0")
    assert chat(CURT).decode(heard) == "\n<|im_start|>tool\n4<|im_end|>\n<|im_start|>assistant\n"


def test_an_answer_without_an_end_is_followed_at_once() -> None:
    tokenizer = chat("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}; {% endfor %}assistant: ")
    assert tokenizer.decode(turns_of(tokenizer).between([HEAR], [], "row 0")) == "; user: d; assistant: "


def test_templates_that_cannot_do_it_are_refused() -> None:
    with pytest.raises(UserError, match="row 3: the chat template leaves out an assistant's answer"):
        turns_of(chat(FORGETFUL)).between([HEAR], [], "row 3")
    with pytest.raises(UserError, match="an environment needs a model for conversations"):
        Turns.of(make(), [0])
