"""Rendering: the text of a row, which of its characters are trained, and templates that cannot be used."""

from collections import Counter
from datetime import datetime

import pytest

from burnish.data.formats import Example
from burnish.data.rendering import Rendering
from burnish.data.templates import Template, conversation
from burnish.run import UserError

from .templates_on_the_spot import PHI, QWEN_3, QWQ, R1
from .tokenizers_on_the_spot import CHATML, FORGETFUL, LLAMA, byte_level, make


def user(text, **keys):
    return {"role": "user", "content": text, **keys}


def bot(text, **keys):
    return {"role": "assistant", "content": text, **keys}


def rows(template, prompt, *responses, options=None, desirable=None, **how):
    """Per row and response: the text up to the response, the rest, and its trained parts; and the notes."""
    tokenizer = make(template=template) if isinstance(template, str) else byte_level(template.tokens)
    tokenizer.chat_template = template if isinstance(template, str) else template.template
    example = Example(3, prompt, responses, desirable=desirable, template_options=options or {})
    found = conversation(example, Template.of(tokenizer, Rendering(**how)).at("f, row 3", example.template_options))
    texts = [
        [(one.text[: one.start], one.text[one.start :], [one.text[a:b] for a, b in one.spans]) for one in row]
        for row in found.rows
    ]
    return texts, +found.notes


def one(*arguments, **keywords):
    """The only text of the only row."""
    (((start, rest, trained),),), _ = rows(*arguments, **keywords)
    return start, rest, trained


HI = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
AND = "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"


def test_render_with_and_without_the_generation_prompt():
    chatml = Template.of(make(template=CHATML))
    assert chatml.render([user("Hi")]) == "<|im_start|>user\nHi<|im_end|>\n"
    assert chatml.render([user("Hi")], answer_next=True) == HI
    assert chatml.render([], answer_next=True) == "<|im_start|>assistant\n"
    assert chatml.prompt([user("Hi")]) == HI
    assert chatml.prompt([user("Hi"), bot("Well,")]) == f"{HI}Well,"


def test_one_turn_ends_with_the_templates_end():
    assert one(CHATML, [user("Hi")], [bot("Ho")]) == (HI, "Ho<|im_end|>", ["Ho<|im_end|>"])
    ((ho, hm),), notes = rows(CHATML, [user("Hi")], [bot("Ho")], [bot("Hm")])
    assert (ho[:2], hm[:2]) == ((HI, "Ho<|im_end|>"), (HI, "Hm<|im_end|>"))
    assert notes == Counter()


def test_every_turn_of_the_assistant_is_trained_and_nothing_else():
    start, rest, trained = one(CHATML, [user("Hi")], [bot("b"), user("And?"), bot("d"), user("e")])
    assert (start, rest) == (HI, f"b<|im_end|>\n{AND}d<|im_end|>")
    assert trained == ["b<|im_end|>", "d<|im_end|>"]


def test_a_template_without_a_generation_prompt():
    assert one(LLAMA, [user("a")], [bot("b"), user("c"), bot("d")]) == (
        "<s>[INST] a [/INST]",
        " b</s><s>[INST] c [/INST] d</s>",
        [" b</s>", " d</s>"],
    )


def test_two_answers_in_a_row():
    assert one(LLAMA, [user("a")], [bot("b"), bot("c")])[2] == [" b</s>", " c</s>"]


def test_a_template_that_writes_more_behind_the_last_answer():
    """Phi's manner: <|end|> behind each answer, and EOS behind a finished conversation, which no answer has."""
    start, rest, trained = one(PHI, [user("a")], [bot("b"), user("c"), bot("d")])
    assert start == "<|user|>\na<|end|>\n<|assistant|>\n"
    assert rest == "b<|end|>\n<|user|>\nc<|end|>\n<|assistant|>\nd<|end|>"
    assert trained == ["b<|end|>", "d<|end|>"]


def test_another_special_token_ends_an_answer_too():
    """As Llama 3's <|eom_id|> behind a call of a tool."""
    template = "{% for m in messages %}{{ m['content'] + ('</s>' if 'end' not in m else m['end']) }}{% endfor %}"
    tokenizer = make(template=template)
    found = Template.of(tokenizer)
    assert found.end == "</s>"
    assert found.ended("a<pad>\n", 0) == (6, True)
    assert found.ended("a\n", 0) == (2, False)


def test_answers_that_begin_with_different_roles():
    ((first, second),), _ = rows(CHATML, [user("Hi")], [bot("b")], [user("And?"), bot("d")])
    assert first == (HI, "b<|im_end|>", ["b<|im_end|>"])
    assert second == (f"<|im_start|>user\nHi<|im_end|>\n{AND}", "d<|im_end|>", ["d<|im_end|>"])


def test_no_prompt_at_all():
    assert one(LLAMA, [], [user("a"), bot("b")]) == ("<s>[INST] a [/INST]", " b</s>", [" b</s>"])
    assert one(LLAMA, [], [bot("b")]) == ("", " b</s>", [" b</s>"])


def test_the_response_continues_the_prompts_last_message():
    assert one(CHATML, [user("Hi"), bot("Well,")], [bot(" yes"), user("And?"), bot("No")]) == (
        f"{HI}Well,",
        f" yes<|im_end|>\n{AND}No<|im_end|>",
        [" yes<|im_end|>", "No<|im_end|>"],
    )
    with pytest.raises(
        UserError, match=r"^f, row 3: the prompt ends with an assistant message that the response conti"
    ):
        one(CHATML, [user("Hi"), bot(None)], [bot("a")])


def test_a_turn_that_is_not_to_be_trained():
    talk = [bot("b", train=False), user("And?"), bot("d", train=True)]
    assert one(CHATML, [user("Hi", train=True)], talk) == (
        f"{HI}b<|im_end|>\n{AND}",
        "d<|im_end|>",
        ["d<|im_end|>"],
    )
    assert rows(CHATML, [user("Hi")], [bot("b", train=False)]) == ([], Counter(untrained=1))
    # The template does not see the key.
    seeing = "{% for m in messages %}{{ m | length }}{{ m['content'] }}{% endfor %}"
    assert one(seeing, [user("a", train=True)], [bot("b", train=True)]) == ("2a", "2b", ["2b"])


def test_the_rows_own_keywords_reach_the_template():
    template = "{{ tools[0]['name'] ~ mood }}" + CHATML
    assert one(template, [user("Hi")], [bot("Ho")], options={"tools": [{"name": "f"}], "mood": "!"})[0] == f"f!{HI}"


def test_last_answer_only():
    talk = [bot("b"), user("And?"), bot("d")]
    expected = (f"{HI}b<|im_end|>\n{AND}", "d<|im_end|>", ["d<|im_end|>"])
    assert one(CHATML, [user("Hi")], talk, last_answer_only=True) == expected
    (pair,), notes = rows(CHATML, [user("Hi")], talk, [*talk[:2], bot("e")], last_answer_only=True)
    assert [text[2] for text in pair] == [["d<|im_end|>"], ["e<|im_end|>"]]
    assert notes["earlier_answers"] == 1
    with pytest.raises(UserError, match=r"^f, row 3: last_answer_only compares last answers, but the turns before"):
        rows(CHATML, [user("Hi")], talk, [bot("x"), *talk[1:]], last_answer_only=True)


def test_a_template_that_rewrites_earlier_turns_gets_one_row_per_answer():
    first, second = one(QWEN_3, [user("Hi")], [bot("a")]), one(QWEN_3, [user("Hi"), bot("a"), user("And?")], [bot("b")])
    empty = "<think>\n\n</think>\n\n"
    assert first == (HI, f"{empty}a<|im_end|>", [f"{empty}a<|im_end|>"])
    assert second == (f"{HI}a<|im_end|>\n{AND}", f"{empty}b<|im_end|>", [f"{empty}b<|im_end|>"])
    found, notes = rows(QWEN_3, [user("Hi")], [bot("a"), user("And?"), bot("b")])
    assert found == [[first], [second]]
    assert (notes["rewritten"], notes["answers"]) == (1, 2)


def test_only_as_many_rows_as_needed():
    """Qwen 3's manner keeps the thoughts after the last question: with a tool's answer between them, both turns are in
    one row, and the answer before the question in another."""
    called = bot("c", reasoning_content="x")
    found, notes = rows(
        QWEN_3, [user("Hi")], [bot("a"), user("And?"), called, {"role": "tool", "content": "t"}, bot("d")]
    )
    assert [row[0][2] for row in found] == [
        ["<think>\n\n</think>\n\na<|im_end|>"],
        ["<think>\nx\n</think>\n\nc<|im_end|>", "<think>\n\n</think>\n\nd<|im_end|>"],
    ]
    assert (notes["rewritten"], notes["answers"]) == (1, 2)


def test_responses_that_need_several_rows_are_refused():
    talk = [bot("a"), user("And?"), bot("b")]
    sentence = (
        r"^f, row 3: the chat template rewrites earlier turns, so a response with several answers is not one text"
    )
    with pytest.raises(UserError, match=sentence):
        rows(QWEN_3, [user("Hi")], talk, [bot("c"), *talk[1:]])
    with pytest.raises(UserError, match=sentence):
        rows(QWEN_3, [user("Hi")], talk, desirable=True)
    assert len(rows(QWEN_3, [user("Hi")], talk, talk, last_answer_only=True)[0]) == 1


def test_a_generation_prompt_that_opens_a_thought():
    """R1's manner: a finished turn has no thought, so the data's own is written behind the prompt."""
    prompt = "<s><|User|>Hi<|Assistant|><think>\n"
    ((pair,), notes) = rows(R1, [user("Hi")], [bot("<think>\nEasy.</think>Yes")], [bot("<think>\nHm.</think>No")])
    assert [text[:2] for text in pair] == [(prompt, "Easy.</think>Yes</s>"), (prompt, "Hm.</think>No</s>")]
    assert notes == Counter(thoughts=2)


def test_an_answer_without_a_thought_gets_an_empty_one():
    prompt = "<s><|User|>Hi<|Assistant|><think>\n"
    (((start, rest, trained),),), notes = rows(R1, [user("Hi")], [bot("Yes")])
    assert (start, rest, trained) == (prompt, "\n</think>\n\nYes</s>", ["\n</think>\n\nYes</s>"])
    assert notes == Counter(thoughts=1, no_thought=1)


def test_a_template_that_writes_the_content_as_it_is_behind_an_opened_thought():
    prompt = f"{HI}<think>\n"
    assert one(QWQ, [user("Hi")], [bot("<think>\nx\n</think>\n\na")])[:2] == (prompt, "x\n</think>\n\na<|im_end|>")
    assert one(QWQ, [user("Hi")], [bot("<think>x</think>a")])[:2] == (prompt, "x</think>a<|im_end|>")
    assert one(QWQ, [user("Hi")], [bot("a")])[:2] == (prompt, "\n</think>\n\na<|im_end|>")


def test_thoughts_are_masked_if_they_are_not_to_be_trained():
    both = [bot("<think>\nx\n</think>\n\na"), user("And?"), bot("<think>y</think>b")]
    found, _ = rows(R1, [user("Hi")], both, train_thoughts=False)
    assert [row[0][2] for row in found] == [["a</s>"], ["b</s>"]]
    assert found[0][0][:2] == ("<s><|User|>Hi<|Assistant|><think>\n", "x\n</think>\n\na</s>")
    assert one(QWEN_3, [user("Hi")], both[:1], train_thoughts=False)[2] == ["a<|im_end|>"]


def test_a_generation_prompt_with_an_empty_thought():
    """Qwen 3 without thinking: the prompt writes the empty thought that the finished turn has too."""
    start, rest, _ = one(QWEN_3, [user("Hi")], [bot("a")], options={"enable_thinking": False})
    assert (start, rest) == (f"{HI}<think>\n\n</think>\n\n", "a<|im_end|>")


def test_messages_that_the_template_leaves_out_are_counted_by_role():
    system, tool = {"role": "system", "content": "Be kind"}, {"role": "tool", "content": 'a "b"'}
    only = "{% for m in messages if m['role'] in ['user', 'assistant'] %}{{ m['content'] }}{% endfor %}"
    _, notes = rows(only, [system, user("Hi")], [bot("a"), tool, bot("b")])
    assert notes == Counter(without_system=1, without_tool=1, earlier_answers=1)
    everything = "{% for m in messages %}{{ m['content'] | tojson }}{% endfor %}"
    assert "without_tool" not in rows(everything, [system, user("Hi")], [bot("a"), tool, bot("b")])[1]


def test_a_stopped_clock():
    template = "{{ strftime_now('%d.%m.%Y') }} " + LLAMA
    start, _, _ = one(template, [user("a")], [bot("b")], clock=datetime(2020, 2, 1))
    assert start == "01.02.2020 <s>[INST] a [/INST]"


def test_a_tokenizer_without_a_template():
    with pytest.raises(UserError, match=r"^f, row 3: is a conversation, but the tokenizer has no chat template; set"):
        Template.of(make()).at("f, row 3", {}).render([user("a")])


def test_a_template_that_rewrites_the_only_answer():
    """The generation prompt is not what stands before the answer."""
    template = "{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}{{ 'x' if add_generation_prompt }}"
    with pytest.raises(
        UserError, match=r"^f, row 3: the chat template writes an answer behind another text than its ge"
    ):
        rows(template, [user("a")], [bot("b")])
    found, _ = rows(FORGETFUL, [user("a")], [bot("b"), user("c"), bot("d")])
    assert [row[0][2] for row in found] == [["b;"], ["d;"]]


def test_a_template_that_rejects_or_ignores_a_message():
    refusing = "{% for m in messages %}{{ raise_exception('no ' + m['role']) }}{% endfor %}"
    with pytest.raises(UserError, match=r"^f, row 3: the chat template rejects its messages \(no user\)"):
        rows(refusing, [user("a")], [bot("b")])
    with pytest.raises(
        UserError, match=r"^f, row 3: the chat template writes 1,000,000,000 characters at once: fix the "
    ):
        rows("{{ 'a' * 10**9 }}", [user("a")], [bot("b")])
    with pytest.raises(UserError, match=r"^f, row 3: the chat template writes nothing for the assistant's message"):
        rows("{{ messages[0]['content'] }}", [user("a")], [bot("b")])
