"""Rendering: the text of each turn, which turns are trained, and templates that cannot be used."""

import pytest

from burnish.data.templates import render, split
from burnish.run import UserError

from .tokenizers_on_the_spot import CHATML, FORGETFUL, LLAMA, make


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


def test_render_with_and_without_the_generation_prompt():
    chatml = make(template=CHATML)
    assert render([user("Hi")], chatml, "x") == "<|im_start|>user\nHi<|im_end|>\n"
    assert render([user("Hi")], chatml, "x", answer_next=True).endswith("\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert render([], chatml, "x", answer_next=True) == "<|im_start|>assistant\n"


def test_one_turn():
    prompt, answers = split([user("Hi")], ([bot("Ho")], [bot("Hm")]), make(template=CHATML), "x")
    assert prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert answers == [[("Ho<|im_end|>\n", True)], [("Hm<|im_end|>\n", True)]]


def test_every_turn_of_the_assistant_is_trained_and_nothing_else():
    prompt, answers = split([user("a")], ([bot("b"), user("c"), bot("d"), user("e")],), make(template=CHATML), "x")
    assert prompt == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    assert answers == [
        [
            ("b<|im_end|>\n", True),
            ("<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n", False),
            ("d<|im_end|>\n", True),
        ]
    ]


def test_a_template_without_a_generation_prompt():
    prompt, answers = split([user("a")], ([bot("b"), user("c"), bot("d")],), make(template=LLAMA), "x")
    assert prompt == "<s>[INST] a [/INST]"
    assert answers == [[(" b</s>", True), ("<s>[INST] c [/INST]", False), (" d</s>", True)]]


def test_two_answers_in_a_row():
    _, answers = split([user("a")], ([bot("b"), bot("c")],), make(template=LLAMA), "x")
    assert answers == [[(" b</s>", True), (" c</s>", True)]]


def test_answers_that_begin_with_different_roles_share_their_prompt():
    prompt, answers = split([user("a")], ([bot("b")], [user("c"), bot("d")]), make(template=CHATML), "x")
    assert prompt == "<|im_start|>user\na<|im_end|>\n"
    assert answers == [
        [("<|im_start|>assistant\n", False), ("b<|im_end|>\n", True)],
        [("<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n", False), ("d<|im_end|>\n", True)],
    ]


def test_no_prompt_at_all():
    assert split([], ([user("a"), bot("b")], [user("c"), bot("d")]), make(template=LLAMA), "x") == (
        "",
        [[("<s>[INST] a [/INST]", False), (" b</s>", True)], [("<s>[INST] c [/INST]", False), (" d</s>", True)]],
    )
    assert split([], ([bot("b")],), make(template=LLAMA), "x") == ("", [[(" b</s>", True)]])
    # An empty list of messages is not rendered, because many templates reject it.
    naming = make(template="{{ messages[0]['role'] + ':' }}{% for m in messages %}{{ m['content'] }}{% endfor %}")
    assert split([], ([user("a"), bot("b")],), naming, "x") == ("", [[("user:a", False), ("b", True)]])


def test_a_tokenizer_without_a_template():
    with pytest.raises(UserError, match=r"^f, row 3: is a conversation, but the tokenizer has no chat template; set"):
        split([user("a")], ([bot("b")],), make(), "f, row 3")


def test_a_template_that_rewrites_earlier_text():
    tokenizer = make(template=FORGETFUL)
    assert split([user("a")], ([bot("b")],), tokenizer, "f, row 3")[1] == [[("b;", True)]]
    with pytest.raises(UserError, match=r"^f, row 3: the chat template changes earlier text"):
        split([user("a")], ([bot("b"), user("c"), bot("d")],), tokenizer, "f, row 3")


def test_a_template_that_rejects_or_ignores_a_message():
    refusing = make(template="{% for m in messages %}{{ raise_exception('no ' + m['role']) }}{% endfor %}")
    with pytest.raises(UserError, match=r"^f, row 3: the chat template rejects its messages \(no user\)"):
        split([user("a")], ([bot("b")],), refusing, "f, row 3")
    with pytest.raises(UserError, match=r"^f, row 3: the chat template writes nothing for the assistant's message"):
        split([user("a")], ([bot("b")],), make(template="{{ messages[0]['content'] }}"), "f, row 3")
