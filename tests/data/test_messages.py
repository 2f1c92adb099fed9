"""Messages in the forms that data sets have them in, and what is refused by name."""

import json

import pytest

from burnish.data import cells
from burnish.data.messages import alike, listed, message
from burnish.run import UserError

CALL = {"type": "function", "function": {"name": "tide", "arguments": {"bay": "A", "hour": None}}}


def test_messages_with_from_and_value_are_messages():
    told = [
        {"from": "system", "value": "s", "role": None, "content": None},
        {"from": "human", "value": "a"},
        {"from": "gpt", "value": "b", "weight": 1, "id": 7},
        {"from": "user", "value": "c"},
        {"from": "observation", "value": "d"},
    ]
    assert cells.value(told, "here") == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "id": 7},
        {"role": "user", "content": "c"},
        {"role": "tool", "content": "d"},
    ]
    assert cells.value([{"role": "user", "content": "a", "from": None}], "here") == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"from": "narrator", "value": "a"}, "here, message 0 is from 'narrator', which is not one of human, "),
        ({"from": ["gpt"], "value": "a"}, "here, message 0 is from of type list"),
        ({"from": "gpt", "value": None}, "here, message 0 has no text in `content`"),
        ({"from": None, "value": "a"}, "here, message 0 "),
        ("a", "here, message 0 has no role"),
    ],
)
def test_an_invalid_message_is_named(message, sentence):
    with pytest.raises(UserError) as caught:
        cells.value([message], "here")
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("key", ["train", "training", "trainable", "weight", "loss", "loss_mask"])
@pytest.mark.parametrize("value", [0, False, 0.0])
def test_a_turn_that_is_left_out_says_train_false(key, value):
    assert message({"role": "assistant", "content": "a", key: value}, "here") == {
        "role": "assistant",
        "content": "a",
        "train": False,
    }


@pytest.mark.parametrize("value", [1, True, 1.0, None])
def test_a_turn_that_is_trained_or_says_nothing_has_no_key(value):
    expected = {"role": "assistant", "content": "a"}
    assert message({"role": "assistant", "content": "a", "weight": value}, "here") == expected
    assert message({"role": "user", "content": "a", "weight": 0}, "here") == {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"weight": 0.5}, "here has `weight` 0.5, but only 0 and 1"),
        ({"train": "no"}, "here has `train` 'no', but only 0 and 1"),
        ({"weight": 1, "train": False}, "here has `train` and `weight` that disagree"),
        ({"role": "user", "train": True}, "here is the user's and has `train` True, but only the assistant's turns"),
    ],
)
def test_a_weight_without_a_meaning_is_refused(more, sentence):
    with pytest.raises(UserError) as caught:
        message({"role": "assistant", "content": "a"} | more, "here")
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": " b"}], "a b"),
        ([{"type": "text", "text": "a", "image_url": None}, "b"], "ab"),
        ([{"text": "a"}], "a"),
        ([{"type": "output_text", "text": "a"}], "a"),
    ],
)
def test_parts_of_text_are_put_together(content, text):
    assert message({"role": "user", "content": content}, "here") == {"role": "user", "content": text}


@pytest.mark.parametrize("kind", ["image", "image_url", "audio", "video", "input_audio"])
def test_other_parts_are_refused_by_name(kind):
    content = [{"type": "text", "text": "look"}, {"type": kind, kind: "a.png"}]
    with pytest.raises(UserError, match=f"here has a part of type {kind}, and only text can be trained"):
        message({"role": "user", "content": content}, "here")


def test_a_part_without_text_is_named():
    with pytest.raises(UserError, match="here has a part of type text with no text"):
        message({"role": "user", "content": [{"type": "text"}]}, "here")


def test_tool_calls_keep_their_nulls_and_may_be_json_text():
    expected = {"role": "assistant", "tool_calls": [CALL]}
    beside = message({"role": "assistant", "content": None, "tool_calls": [CALL]}, "here")
    assert beside == expected | {"content": None}  # templates ask whether it is none
    assert message({"role": "assistant", "tool_calls": json.dumps([CALL])}, "here") == expected
    with pytest.raises(UserError, match="here, `tool_calls` is text but not JSON"):
        message({"role": "assistant", "tool_calls": "tide(A)"}, "here")


@pytest.mark.parametrize("content", [{"bay": "A"}, ["a", "b"], 3, [{"bay": "A"}]])
def test_the_result_of_a_call_may_be_any_value(content):
    assert message({"role": "tool", "content": content}, "here") == {"role": "tool", "content": content}


def test_older_and_shared_forms_of_a_call():
    old = {"role": "assistant", "content": None, "function_call": {"name": "tide", "arguments": "{}"}}
    assert message(old, "here") == old
    shared = {"from": "function_call", "value": '{"name": "tide", "arguments": {"bay": "A"}}'}
    call = {"type": "function", "function": {"name": "tide", "arguments": {"bay": "A"}}}
    assert message(shared, "here") == {"role": "assistant", "tool_calls": [call]}
    with pytest.raises(UserError, match="here, `value` is text but not JSON"):
        message({"from": "function_call", "value": "tide(A)"}, "here")


def test_messages_are_alike_whatever_is_trained():
    one, other = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "a", "train": False}
    assert alike([one], [other])
    assert not alike([one], [one | {"content": "b"}])


def test_a_weight_for_parts_of_a_message_is_refused():
    with pytest.raises(UserError, match="here has `train_detail`, which is not supported"):
        message({"role": "assistant", "content": "a", "train_detail": [{"train": False}]}, "here")


def test_the_python_text_of_messages_is_refused():
    told = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(UserError, match="here is the Python text of a list of messages, not their JSON"):
        cells.value(str(told), "here")
    assert cells.value("[{'a': 1}]", "here") == "[{'a': 1}]"


def test_other_keys_of_a_message_are_kept():
    told = {"role": "tool", "content": "3", "name": "tide", "tool_call_id": "x"}
    assert message(told, "here") == told
    thought = {"role": "assistant", "content": "3", "reasoning_content": "so"}
    assert message(thought, "here") == thought


def test_messages_as_json_text_are_messages_and_other_text_is_text():
    told = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert cells.value(json.dumps(told), "here") == told
    assert cells.value(json.dumps([{"from": "human", "value": "a"}]), "here") == [{"role": "user", "content": "a"}]
    for text in ("[INST] a", "[1, 2]", "[]", '[{"a": 1}]', '{"role": "user"}', "[" * 5000, ' ["a"]'):
        assert listed(text) is None
        assert cells.value(text, "here") == text
