"""Rows as examples: every format, the implicit prompt, and the error for each invalid row."""

import pytest

from burnish.data import formats
from burnish.data.formats import Example, common_prefix
from burnish.data.sources import load
from burnish.run import UserError


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


def demonstrations(*rows):
    return list(formats.demonstrations(load(list(rows)), "f.jsonl"))


def preferences(*rows):
    return list(formats.preferences(load(list(rows)), "f.jsonl"))


def prompts(*rows):
    return [example.prompt for example in formats.prompts(load(list(rows)), "f.jsonl")]


def test_text():
    assert demonstrations({"text": "A film."}, {"text": " B"}) == [
        Example(0, "", ("A film.",)),
        Example(1, "", (" B",)),
    ]


def test_prompt_and_completion_plain_and_conversational():
    assert demonstrations({"prompt": "Sky:", "completion": " blue"}) == [Example(0, "Sky:", (" blue",))]
    assert demonstrations({"prompt": "", "completion": "blue"}) == [Example(0, "", ("blue",))]
    assert demonstrations({"prompt": [user("Sky?")], "completion": [bot("Blue.")]}) == [
        Example(0, [user("Sky?")], ([bot("Blue.")],))
    ]


def test_messages_split_before_the_first_answer():
    system = {"role": "system", "content": "Be kind."}
    assert demonstrations({"messages": [system, user("a"), bot("b"), user("c"), bot("d")]}) == [
        Example(0, [system, user("a")], ([bot("b"), user("c"), bot("d")],))
    ]


def test_messages_lose_the_none_values_that_arrow_adds():
    rows = [{"messages": [user("a"), {**bot("b"), "name": "B"}]}, {"messages": [user("c"), bot("d")]}]
    assert demonstrations(*rows)[1] == Example(1, [user("c")], ([bot("d")],))
    assert demonstrations(*rows)[0].responses == ([{**bot("b"), "name": "B"}],)


def test_text_next_to_a_conversation_is_one_message():
    expected = [Example(0, [user("Sky?")], ([bot("Blue.")],))]
    assert demonstrations({"prompt": "Sky?", "completion": [bot("Blue.")]}) == expected
    assert demonstrations({"prompt": [user("Sky?")], "completion": "Blue."}) == expected


def test_messages_have_precedence_over_other_columns():
    (example,) = demonstrations({"text": "x", "prompt": "y", "messages": [user("a"), bot("b")]})
    assert example.prompt == [user("a")]


def test_preferences_with_a_prompt():
    assert preferences({"prompt": "Sky:", "chosen": " blue", "rejected": " red"}) == [
        Example(0, "Sky:", (" blue", " red"))
    ]
    assert preferences({"prompt": [user("Sky?")], "chosen": [bot("Blue.")], "rejected": [bot("Red.")]}) == [
        Example(0, [user("Sky?")], ([bot("Blue.")], [bot("Red.")]))
    ]


@pytest.mark.parametrize("prompt", ["Sky?", [user("Sky?")]])
def test_a_prompt_repeated_in_both_answers_is_removed(prompt):
    row = {"prompt": prompt, "chosen": [user("Sky?"), bot("Blue.")], "rejected": [user("Sky?"), bot("Red.")]}
    assert preferences(row) == [Example(0, [user("Sky?")], ([bot("Blue.")], [bot("Red.")]))]


def test_conversations_share_their_leading_messages():
    start = [user("a"), bot("b"), user("c")]
    assert preferences({"chosen": [*start, bot("good")], "rejected": [*start, bot("bad")]}) == [
        Example(0, start, ([bot("good")], [bot("bad")]))
    ]


def test_each_conversation_keeps_its_last_message():
    longer = [user("a"), bot("b"), user("c"), bot("d")]
    assert preferences({"chosen": longer[:2], "rejected": longer}) == [
        Example(0, [user("a")], ([bot("b")], longer[1:]))
    ]
    assert preferences({"chosen": longer, "rejected": longer}) == [Example(0, longer[:3], ([bot("d")], [bot("d")]))]


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        ("The sky is", " blue.", " green."),  # as in TRL, the space goes to the answer
        ("The sky is", " blue.", " black."),  # TRL: "The sky is bl"
        ("Q: yes?\nA:", " yes", " no"),
        ("Q: yes?\nA:\n", "yes", "no"),  # only a space goes to the answer
        ("", "Good film", "Bad film"),
        ("", "same", "sample"),
        ("Hi", " there", " there friend"),  # TRL: "Hi ther" and an answer "e"
        ("Hi", " there ", " there  friend"),
        ("", "one", "one two"),
        ("a b", " c", " c"),  # equal texts keep their last word
        ("", "word", "word"),
        ("a ", " b", " c"),  # only one space goes to the answer
    ],
)
def test_the_implicit_prompt_ends_between_words(prompt, chosen, rejected):

    found = preferences({"chosen": prompt + chosen, "rejected": prompt + rejected})
    assert found == [Example(0, prompt, (chosen, rejected))]


def test_common_prefix_leaves_neither_answer_empty():
    """Exhaustive: every pair of texts of up to four characters of 'a', 'b', space and newline."""
    alphabet = ["a", "b", " ", "\n"]
    texts = [""]
    for _ in range(4):
        texts += [text + letter for text in texts for letter in alphabet]
    texts = sorted({text for text in texts if text})
    for chosen in texts[::3]:
        for rejected in texts:
            length = common_prefix(chosen, rejected)
            assert chosen[:length] == rejected[:length]
            assert len(chosen) > length < len(rejected)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "a", "completion": ""}, "f.jsonl, row 1: column `completion` is empty"),
        ({"prompt": "a", "completion": None}, "f.jsonl, row 1: column `completion` is None"),
        ({"prompt": None, "completion": "a"}, "f.jsonl, row 1: column `prompt` is None"),
        ({"prompt": "a", "completion": 7}, "f.jsonl, row 1: column `completion` is of type int"),
        ({"prompt": "a", "completion": []}, "f.jsonl, row 1: column `completion` is an empty list"),
        ({"prompt": "a", "completion": ["b"]}, "f.jsonl, row 1: column `completion`, message 0 has no role"),
        ({"prompt": "a", "completion": [user("b")]}, "row 1: column `completion` has no assistant message"),
        ({"prompt": "a", "completion": [bot("")]}, "row 1: column `completion` has an empty assistant message"),
        ({"prompt": [user(None)], "completion": "b"}, "row 1: column `prompt`, message 0 has no text in `content`"),
    ],
)
def test_one_sentence_for_each_invalid_demonstration(row, sentence):
    with pytest.raises(UserError) as caught:
        demonstrations({"prompt": "fine", "completion": "fine"}, row)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_are_numbered_across_batches():
    rows = [{"text": "fine"}] * 2345 + [{"text": ""}]
    with pytest.raises(UserError, match="row 2345: column `text` is empty"):
        demonstrations(*rows)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": None}, "f.jsonl, row 0: column `rejected` is None"),
        ({"prompt": "a", "chosen": "", "rejected": "b"}, "f.jsonl, row 0: column `chosen` is empty"),
        ({"chosen": [user("a")], "rejected": [bot("b")]}, "row 0: column `chosen` has no assistant message"),
    ],
)
def test_one_sentence_for_each_invalid_comparison(row, sentence):
    with pytest.raises(UserError) as caught:
        preferences(row)
    assert sentence in str(caught.value)


def test_messages_in_the_column_text_are_an_error():
    with pytest.raises(UserError, match=r"row 0: column `text` contains messages.*rename the column to `messages`"):
        demonstrations({"text": [user("a"), bot("b")]})


def test_missing_columns_are_an_error_with_the_columns_found_and_needed():
    with pytest.raises(UserError) as caught:
        demonstrations({"question": "a", "answer": "b"})
    assert str(caught.value) == (
        "f.jsonl: demonstrations need `text`, or `messages`, or `prompt` and `completion`, but its columns are "
        "`answer`, `question`; rename the columns."
    )
    with pytest.raises(UserError, match=r"columns are `chosen`, `rejected`; these are comparisons, .*`burnish dpo`"):
        demonstrations({"chosen": "a", "rejected": "b"})
    with pytest.raises(UserError, match=r"need `chosen` and `rejected`.*these are demonstrations, .*`burnish sft`"):
        preferences({"prompt": "a", "completion": "b"})


def test_prompts_are_the_part_before_the_answer_in_every_format():
    talk = [user("a"), bot("b"), user("c")]
    assert prompts({"prompt": "a", "answer": 7}, {"prompt": ""}) == ["a", ""]
    assert prompts({"prompt": talk}) == [talk]
    assert prompts({"prompt": "a", "completion": " b"}) == ["a"]
    assert prompts({"prompt": "a", "chosen": " b", "rejected": " c"}) == ["a"]
    assert prompts({"messages": talk}, {"messages": [user("a")]}) == [[user("a")], [user("a")]]
    assert prompts({"chosen": "a b", "rejected": "a c"}) == ["a"]
    assert prompts({"chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]}) == [[user("a")]]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "completion": [bot("b")]},
        {"prompt": "a", "chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]},
        {"prompt": "a", "messages": [user("z"), bot("b")]},
    ],
)
def test_a_text_prompt_next_to_a_conversation_is_a_user_message(row):
    """Otherwise a model would be prompted in another format than in training."""
    assert prompts(row) == [[user("a")]]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": None}, "f.jsonl, row 1: column `prompt` is None"),
        ({"prompt": 7}, "f.jsonl, row 1: column `prompt` is of type int"),
        ({"prompt": [{"role": "user"}]}, "f.jsonl, row 1: column `prompt`, message 0 has no text in `content`"),
    ],
)
def test_one_sentence_for_each_invalid_prompt(row, sentence):
    with pytest.raises(UserError) as caught:
        prompts({"prompt": "fine"}, row)
    assert sentence in str(caught.value)


def test_missing_prompts_are_an_error_with_the_columns_found_and_needed():
    with pytest.raises(UserError) as caught:
        prompts({"text": "a", "label": 1})
    assert str(caught.value) == (
        "f.jsonl: prompts need `prompt`, or `messages`, or `chosen` and `rejected`, but its columns are "
        "`label`, `text`; rename one of them to `prompt`."
    )


def test_a_repeated_prompt_is_found_whatever_its_turns_weigh():
    prompt = [user("a"), {"role": "assistant", "content": "b"}, user("c")]
    weighed = [prompt[0], prompt[1] | {"weight": 0}, prompt[2]]
    answer = {"role": "assistant", "content": "d"}
    rows = [{"prompt": prompt, "chosen": [*weighed, answer], "rejected": [*weighed, answer | {"content": "e"}]}]
    (found,) = formats.preferences(load(rows), "f")
    assert found.responses == ([answer], [answer | {"content": "e"}])


def test_responses_as_json_text():
    (found,) = formats.ranked(load([{"prompt": "a", "responses": '["b", "c"]'}]), "f")
    assert found.responses == ("b", "c")


def user(text):
    return {"role": "user", "content": text}
