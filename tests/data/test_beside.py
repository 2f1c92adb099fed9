"""Keywords for the chat template, columns that nothing reads, and warnings about what is seldom meant."""

import json
import warnings

import pytest
from datasets import Dataset

from burnish.data import adapters
from burnish.data.beside import template_variables
from burnish.data.sources import load
from burnish.run import UserError

from .tokenizers_on_the_spot import CHATML, make

TOOL = {"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}}}
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def read(kind, rows, variables=None):
    """The reading of rows in a list, and its examples; nothing may be warned about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = adapters.read(kind, load(rows), "f", True, None if variables is None else frozenset(variables))
        return reading, list(reading.examples)


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("demonstrations", {"messages": TALK}),
        ("demonstrations", {"prompt": TALK[:1], "completion": TALK[1:]}),
        ("preferences", {"prompt": TALK[:1], "chosen": TALK[1:], "rejected": TALK[1:]}),
        ("prompts", {"prompt": TALK[:1]}),
        ("prompts", {"messages": TALK}),
        ("feedback", {"prompt": TALK[:1], "completion": TALK[1:], "label": True}),
    ],
)
def test_tools_and_a_rows_own_keywords_reach_its_example_alone(kind, row):
    good, bad = row | {"tools": [TOOL], "chat_template_kwargs": {"enable_thinking": False}}, row
    if kind == "feedback":
        bad = bad | {"label": False}
    reading, (first, second) = read(kind, [good, bad])
    assert first.template_options == {"tools": [TOOL], "enable_thinking": False}
    assert second.template_options == {}
    assert reading.unread == ()


def test_both_halves_of_a_pair_have_its_keywords():
    pair = {"prompt": TALK[:1], "chosen": TALK[1:], "rejected": TALK[1:]}
    _, found = read("feedback", [pair, pair | {"tools": [TOOL]}, pair])
    assert [one.row for one in found] == [0, 1, 2, 3, 4, 5]
    assert [bool(one.template_options) for one in found] == [False, False, True, True, False, False]


def test_a_column_that_the_template_names_is_a_keyword():
    rows = [{"messages": TALK, "date_string": "1 May", "source": "x", "documents": [{"title": "t"}]}]
    reading, (example,) = read("demonstrations", rows, {"date_string", "documents"})
    assert example.template_options == {"date_string": "1 May", "documents": [{"title": "t"}]}
    assert reading.unread == ("source",)


@pytest.mark.parametrize("tools", [json.dumps([TOOL]), [json.dumps(TOOL)], [TOOL]])
def test_tools_may_be_json_text(tools):
    (example,) = read("demonstrations", [{"messages": TALK, "tools": tools}])[1]
    assert example.template_options == {"tools": [TOOL]}


@pytest.mark.parametrize("tools", [None, "", [], "[]"])
def test_no_tools_are_no_keyword(tools):
    (example,) = read("demonstrations", [{"messages": TALK, "tools": tools}])[1]
    assert example.template_options == {}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"tools": "tide"}, "f, row 0: column `tools` is text but not JSON"),
        ({"tools": 3}, "f, row 0: column `tools` is of type int, but it must be a list"),
        ({"tools": [3]}, "f, row 0: column `tools` must be a list of objects"),
        ({"chat_template_kwargs": [1]}, "f, row 0: column `chat_template_kwargs` must be an object"),
        ({"chat_template_kwargs": {"messages": []}}, "f, row 0: column `chat_template_kwargs` sets `messages`"),
    ],
)
def test_keywords_that_no_template_can_read_are_refused(more, sentence):
    with pytest.raises(UserError) as caught:
        read("demonstrations", [{"messages": TALK} | more])
    assert str(caught.value).startswith(sentence)


def test_plain_text_with_tools_is_warned_about():
    reading = adapters.read("demonstrations", load([{"text": "a", "tools": [TOOL]}, {"text": "b"}]), "f", True)
    with pytest.warns(UserWarning, match="f: 1 rows of plain text have `tools`"):
        assert [one.template_options for one in reading.examples] == [{}, {}]


def test_keywords_that_the_template_does_not_read_are_warned_about():
    rows = [{"messages": TALK, "tools": [TOOL], "chat_template_kwargs": {"a": 1, "b": 2}}, {"messages": TALK}]
    with pytest.warns(UserWarning, match="the chat template does not read") as caught:
        list(adapters.read("demonstrations", load(rows), "f", True, frozenset({"a"})).examples)
    assert [str(one.message) for one in caught] == [
        "f: the chat template does not read `b`, which 1 rows have.",
        "f: the chat template does not read `tools`, which 1 rows have.",
    ]
    read("demonstrations", rows, {"a", "b", "tools"})


@pytest.mark.parametrize(
    ("kind", "row", "unread"),
    [
        ("demonstrations", {"text": "a", "source": "x", "score": 1}, ("source", "score")),
        ("preferences", {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1, "id": 7}, ("id",)),
        ("preferences", {"prompt": "a", "responses": ["b", "c"], "ranks": [1, 2], "id": 7}, ("id",)),
        ("feedback", {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1}, ("margin",)),
        ("prompts", {"prompt": "a", "answer": "b"}, ()),
    ],
)
def test_columns_that_nothing_reads_are_known(kind, row, unread):
    assert read(kind, [row])[0].unread == unread


def test_feedback_with_one_label_is_warned_about():
    rows = [{"prompt": "a", "completion": "b", "label": False}] * 2
    with pytest.warns(UserWarning, match="f: every response is labelled not desirable"):
        list(adapters.read("feedback", load(rows), "f", True).examples)
    read("feedback", [*rows, {"prompt": "a", "completion": "b", "label": True}])


def test_responses_that_all_repeat_their_prompt_are_warned_about():
    rows = [{"prompt": "a film", "chosen": "a film is good", "rejected": "a film is bad"}] * 2
    with pytest.warns(UserWarning, match="f: every response begins with its prompt"):
        list(adapters.read("preferences", load(rows), "f", True).examples)
    read("preferences", [*rows, {"prompt": "a film", "chosen": " is good", "rejected": "a film is bad"}])
    read("preferences", [{"prompt": " ", "chosen": " is good", "rejected": " bad"}])


def test_the_variables_of_a_template_are_those_that_a_caller_may_set():
    template = (
        CHATML + "{%- if tools %}{{ tools }}{% endif %}{% set x = namespace(y=date_string) %}{% generation %}{{ x.y }}"
        "{{ bos_token }}{{ raise_exception('a') }}{{ strftime_now('%d') }}{% break %}{% endgeneration %}"
    )
    assert template_variables(make(template=template.replace("{% break %}", ""))) == {"tools", "date_string"}
    assert template_variables(make(template=None)) == frozenset()
    assert template_variables(make(template="{% broken")) == frozenset()


def test_a_data_set_whose_structs_arrow_has_merged():
    rows = [{"messages": TALK, "tools": [TOOL]}, {"messages": TALK, "tools": [{"type": "f", "more": {"a": 1}}]}]
    found = list(adapters.read("demonstrations", Dataset.from_list(rows), "f", True).examples)
    assert [one.template_options["tools"] for one in found] == [[TOOL], [{"type": "f", "more": {"a": 1}}]]
