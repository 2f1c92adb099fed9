"""Ids and masks by hand: the byte b is the id b, so that every list can be read off the text.

With `make()`'s defaults BOS is 256, EOS 257 and padding 258.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.data import tokenise
from burnish.data.adapters import Reading
from burnish.data.formats import Example
from burnish.data.rendering import Rendering
from burnish.data.sources import load
from burnish.run import UserError

from .tokenizers_on_the_spot import CHATML, LLAMA, ids, make

BOS, EOS = 256, 257


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


def demonstrations(tokenizer, *rows, max_length=100):
    return tokenise.demonstrations(load(list(rows)), tokenizer, max_length, "f.jsonl")


def preferences(tokenizer, *rows, max_length=100):
    return tokenise.preferences(load(list(rows)), tokenizer, max_length, "f.jsonl")


def trained(row):
    """The trained ids of one row of the data set."""
    return [token for token, mask in zip(row["tokens"], row["mask"], strict=True) if mask]


def test_a_text_is_bos_text_eos_and_all_but_bos_is_trained():
    (row,) = demonstrations(make(), {"text": "abc"}).dataset
    assert row == {"tokens": [BOS, 97, 98, 99, EOS], "mask": [False, True, True, True, True], "row": 0}


def test_prompt_and_completion():
    (row,) = demonstrations(make(), {"prompt": "ab", "completion": " c"}).dataset
    assert row["tokens"] == [BOS, 97, 98, 32, 99, EOS]
    assert row["mask"] == [False, False, False, True, True, True]


def test_chosen_first_and_identical_prompts():
    (row,) = preferences(make(), {"prompt": "ab", "chosen": "c", "rejected": "de"}).dataset
    assert row["tokens"] == [[BOS, 97, 98, 99, EOS], [BOS, 97, 98, 100, 101, EOS]]
    assert row["mask"] == [[False, False, False, True, True], [False, False, False, True, True, True]]


def test_an_implicit_prompt():
    (row,) = preferences(make(), {"chosen": "a b", "rejected": "a c"}).dataset
    assert row["tokens"] == [[BOS, 97, 32, 98, EOS], [BOS, 97, 32, 99, EOS]]
    assert row["mask"][0] == [False, False, True, True, True]


def test_a_token_that_reaches_from_the_prompt_into_the_response_is_trained():
    """A tokenizer that merges the prompt's last byte with the response's first, a + b = 256: the text xabab is x ab ab,
    and the prompt is x. With another first byte the same prompt ends with a."""
    joining = make(bos=None, eos="</s>", pad=None, merges=(("a", "b"),))
    one, other = demonstrations(joining, *({"prompt": "xa", "completion": text} for text in ("bab", "cab"))).dataset
    assert one["tokens"] == [120, 256, 256, 257]
    assert one["mask"] == [False, True, True, True]
    assert other["tokens"] == [120, 97, 99, 256, 257]
    assert other["mask"] == [False, False, True, True, True]


def test_responses_share_the_prompts_ids_where_a_token_of_one_crosses():
    """xa + b is x ab, xa + c is x a c: both begin with x. The second's a is the prompt's, so it is not trained."""
    joining = make(bos=None, eos="</s>", pad=None, merges=(("a", "b"),))
    (row,) = preferences(joining, {"prompt": "xa", "chosen": "b", "rejected": "c"}).dataset
    assert row["tokens"] == [[120, 256, 257], [120, 97, 99, 257]]
    assert row["mask"] == [[False, True, True], [False, False, True, True]]


def test_bos_eos_and_padding_may_be_one_token():
    same = make("<|e|>", "<|e|>", "<|e|>")
    (row,) = demonstrations(same, {"prompt": "a", "completion": "b"}).dataset
    assert row["tokens"] == [256, 97, 98, 256]
    assert row["mask"] == [False, False, True, True]
    batch = demonstrations(same, {"text": "a"}, {"text": "bcd"}).batch([0, 1])
    assert batch.tokens.tolist() == [[256, 97, 256, 0, 0], [256, 98, 99, 100, 256]]
    assert batch.mask.tolist() == [[False, True, True, False, False], [False, True, True, True, True]]


def test_padding_equal_to_eos_is_trained_once():
    (row,) = demonstrations(make(pad="</s>"), {"text": "a"}).dataset
    assert trained(row) == [97, EOS]


def test_without_bos_a_first_token_has_no_context():
    bare = make(bos=None)
    rows = demonstrations(bare, {"prompt": "", "completion": "abc"}, {"prompt": "x", "completion": "abc"}).dataset
    assert rows["tokens"][:] == [[97, 98, 99, 256], [120, 97, 98, 99, 256]]
    assert rows["mask"][:] == [[False, True, True, True], [False, True, True, True, True]]


def test_text_with_its_own_bos_and_eos():
    texts = ["<s>a</s>", "<s><s>a</s></s>", "a</s>\n", "a"]
    for row in demonstrations(make(), *({"text": text} for text in texts)).dataset:
        assert row["tokens"] == [BOS, 97, EOS]
        assert row["mask"] == [False, True, True]
    (row,) = demonstrations(make(), {"prompt": "<s>x", "completion": "a</s>"}).dataset
    assert row["tokens"] == [BOS, 120, 97, EOS]


def test_an_eos_inside_the_text_does_not_end_it():
    (row,) = demonstrations(make(), {"text": "a</s>b"}).dataset
    assert row["tokens"] == [BOS, 97, EOS, 98, EOS]


def test_chatml_with_the_end_of_a_turn_as_eos():
    """The newline after the last turn is left out; the one after an earlier turn is there, untrained."""
    chatml = make(bos=None, eos="<|im_end|>", pad=None, template=CHATML)
    end, start = 256, 257
    (row,) = demonstrations(chatml, {"messages": [user("a"), bot("b"), user("c"), bot("d")]}).dataset
    context = [start, *ids("user\na"), end, 10, start, *ids("assistant\n")]
    between = [10, start, *ids("user\nc"), end, 10, start, *ids("assistant\n")]
    assert row["tokens"] == [*context, 98, end, *between, 100, end]
    assert row["mask"] == [False] * len(context) + [True] * 2 + [False] * len(between) + [True] * 2


def test_chatml_with_another_token_as_eos():
    """A conversation ends as the template ends it; neither BOS nor EOS is added, though the tokenizer has adders."""
    chatml = make(template=CHATML)
    end = chatml.convert_tokens_to_ids("<|im_end|>")
    (row,) = demonstrations(chatml, {"messages": [user("a"), bot("b"), user("c"), bot("d")]}).dataset
    assert not {BOS, EOS} & set(row["tokens"])
    assert trained(row) == [98, end, 100, end]


def test_a_template_that_writes_bos_itself():
    (row,) = demonstrations(make(template=LLAMA), {"prompt": [user("a")], "completion": [bot("b")]}).dataset
    assert row["tokens"] == [BOS, *ids("[INST] a [/INST] b"), EOS]
    assert trained(row) == [32, 98, EOS]


def test_a_conversation_that_begins_with_the_answer():
    template = "<s>{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"
    (row,) = demonstrations(make(template=template), {"messages": [bot("b")]}).dataset
    assert row["tokens"] == [BOS, 98, EOS]
    assert row["mask"] == [False, True, True]


def test_conversational_preferences():
    row = {"chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]}
    (found,) = preferences(make(template=LLAMA), row).dataset
    assert found["tokens"] == [[BOS, *ids(f"[INST] a [/INST] {answer}"), EOS] for answer in "bc"]


def test_plain_text_without_a_special_end_of_turn_trains_the_whole_turn():
    template = "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}\n{% endfor %}"
    (row,) = demonstrations(make(template=template), {"messages": [user("a"), bot("b"), user("c"), bot("d")]}).dataset
    assert row["tokens"] == [*ids("u:a\na:b\nu:c\na:d\n"), EOS]
    assert trained(row) == [*ids("a:b\n"), *ids("a:d\n"), EOS]


def test_a_special_token_inside_a_turn_does_not_end_it():
    template = "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}\n{% endfor %}"
    rows = {"messages": [user("a"), bot("b<pad>c"), user("d"), bot("e")]}
    (row,) = demonstrations(make(template=template), rows).dataset
    assert trained(row) == [*ids("a:b"), 258, *ids("c\n"), *ids("a:e\n"), EOS]


def test_a_row_that_fits_exactly_is_not_cut():
    (row,) = (data := demonstrations(make(), {"prompt": "abc", "completion": "de"}, max_length=7)).dataset
    assert row["tokens"] == [BOS, 97, 98, 99, 100, 101, EOS]
    assert (data.counts["truncated_prompts"], data.counts["truncated_responses"]) == (0, 0)


@pytest.mark.parametrize(
    ("max_length", "tokens", "prompts", "responses"),
    [
        (6, [BOS, 98, 99, 100, 101, EOS], 1, 0),
        (4, [BOS, 100, 101, EOS], 1, 0),  # the whole prompt is cut, BOS stays
        (3, [BOS, 100, 101], 1, 1),  # then the response, which gets no EOS
        (2, [BOS, 100], 1, 1),
    ],
)
def test_too_long_cuts_the_prompts_left_and_then_the_responses_right(max_length, tokens, prompts, responses):
    (row,) = (data := demonstrations(make(), {"prompt": "abc", "completion": "de"}, max_length=max_length)).dataset
    assert row["tokens"] == tokens
    assert data.counts["truncated_prompts"] == prompts
    assert data.counts["truncated_responses"] == responses
    assert data.counts["long_prompts"] == (max_length < 4)


def test_without_bos_the_whole_prompt_may_go_and_the_first_token_with_it():
    (row,) = demonstrations(make(bos=None), {"prompt": "abc", "completion": "de"}, max_length=3).dataset
    assert row["tokens"] == [100, 101, 256]
    assert row["mask"] == [False, True, True]


def test_both_responses_keep_one_prompt_cut_for_the_longer():
    """Limit 7: BOS, two of the prompt, and "xyz" with EOS; "x" has the same prompt though more would fit."""
    data = preferences(make(), {"prompt": "abcd", "chosen": "x", "rejected": "xyz"}, max_length=7)
    assert data.dataset["tokens"][0] == [[BOS, 99, 100, 120, EOS], [BOS, 99, 100, 120, 121, 122, EOS]]
    assert (data.counts["truncated_prompts"], data.counts["truncated_responses"]) == (1, 0)
    data = preferences(make(), {"prompt": "abcd", "chosen": "x", "rejected": "xyz"}, max_length=4)
    assert data.dataset["tokens"][0] == [[BOS, 120, EOS], [BOS, 120, 121, 122]]
    assert (data.counts["truncated_prompts"], data.counts["truncated_responses"]) == (1, 1)


def test_dropped_rows_keep_the_others_row_numbers():
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer = make(bos=None, template=template)
    long = {"chosen": [user("abcde"), bot("f")], "rejected": [user("vwxyz"), bot("f")]}
    short = {"chosen": [user("a"), bot("f")], "rejected": [user("v"), bot("f")]}
    data = preferences(tokenizer, long, short, long, short, max_length=4)
    assert (data.counts["rows"], data.counts["used"], data.counts["dropped"]) == (4, 2, 2)
    assert data.dataset["row"][:] == [1, 3]
    assert data.batch([1]).rows.tolist() == [3]
    assert "2 of 4 rows used, 2 dropped because no response token is left" in data.describe()


def test_no_usable_row_is_an_error():
    with pytest.raises(
        UserError, match=r"f\.jsonl: none of its 1 rows has a response token within max_length 1; raise"
    ):
        demonstrations(make(), {"text": "abc"}, max_length=1)
    with pytest.raises(UserError, match=r"f\.jsonl has no rows"):
        tokenise.tokenise(Reading("none", ("text",), iter([])), "demonstrations", make(), 10, "f.jsonl")
    with pytest.raises(UserError, match="max_length is 0"):
        demonstrations(make(), {"text": "abc"}, max_length=0)


def test_a_tokenizer_without_eos_is_an_error():
    with pytest.raises(UserError, match="the tokenizer has no EOS token"):
        demonstrations(make(eos=None), {"text": "abc"})


def test_equal_pairs_are_kept_counted_and_warned_about():
    rows = [{"prompt": "a", "chosen": "b", "rejected": "b"}, {"prompt": "a", "chosen": "b", "rejected": "c"}]
    with pytest.warns(
        UserWarning, match=r"f\.jsonl: 1 of 2 rows have chosen and rejected responses with the same tokens"
    ):
        data = preferences(make(), *rows)
    assert (len(data), data.counts["equal"]) == (2, 1)


def test_pairs_that_differ_only_beyond_the_limit_count_as_equal():
    rows = [{"prompt": "", "chosen": "abc", "rejected": "abd"}, {"prompt": "", "chosen": "a", "rejected": "b"}]
    with pytest.warns(UserWarning, match="same tokens"):
        data = preferences(make(), *rows, max_length=3)
    assert data.counts["equal"] == 1


def test_only_equal_pairs_are_an_error():
    with pytest.raises(UserError, match="chosen and rejected are equal in every row"):
        preferences(make(), {"prompt": "a", "chosen": "b", "rejected": "b"})


def test_the_fingerprint_changes_with_tokenizer_template_data_and_limit():
    row = {"prompt": [user("a")], "completion": [bot("bcd")]}
    other = {"prompt": [user("a")], "completion": [bot("bce")]}
    prints = [
        demonstrations(make(template=LLAMA), row).fingerprint,
        demonstrations(make(template=LLAMA), other).fingerprint,
        demonstrations(make(template=LLAMA), row, row).fingerprint,
        demonstrations(make(template=CHATML), row).fingerprint,
        demonstrations(make("</s>", "<s>", template=LLAMA), row).fingerprint,
        demonstrations(make(template=LLAMA), row, max_length=10).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert demonstrations(make(template=LLAMA), row, max_length=99).fingerprint == prints[0]


def test_a_group_of_four():
    examples = [Example(row, "p", ("a", "bb", "c", "d")) for row in range(3)]
    data = tokenise.tokenise(Reading("r", ("responses",), iter(examples)), "preferences", make(), 10, "ranked")
    batch = data.batch([2, 1])
    assert batch.tokens.shape == (2, 4, 5)
    assert batch.tokens[0, 1].tolist() == [BOS, 112, 98, 98, EOS]
    assert batch.lengths.tolist() == [[4, 5, 4, 4]] * 2


def test_many_rows_keep_their_order_and_errors_name_the_row():
    rows = [{"text": str(number)} for number in range(2500)]
    data = demonstrations(make(), *rows)
    assert data.dataset[2345]["tokens"] == [BOS, *ids("2345"), EOS]
    assert data.dataset["row"][:] == list(range(2500))
    conversations = [{"messages": [user("a"), bot("b")]}] * 3
    with pytest.raises(UserError, match=r"f\.jsonl, row 0: is a conversation, but the tokenizer has no chat template"):
        demonstrations(make(), *conversations)


def test_a_question_has_its_ids_or_why_it_has_none():
    rejecting = make(template="{% if messages[0].content == 'b' %}{{ raise_exception('no b') }}{% endif %}" + LLAMA)
    found = tokenise.questions([[user("a")], [user("b")], "xyz"], rejecting)
    assert found[0] == [BOS, *ids("[INST] a [/INST]")]
    assert found[1:] == ["the chat template rejects its messages (no b)", [BOS, *ids("xyz")]]
    empty = "the question is empty, and the tokenizer adds no BOS token"
    assert tokenise.questions(["", "a"], make(bos=None)) == [empty, ids("a")]
    given = tokenise.questions([[user("a")]], make(template="{{ mood }}"), [{"mood": "bad"}])
    assert given == [ids("bad")]


def test_prompts_for_sampling():
    assert tokenise.prompts(["abc", "", "<s>a"], make(), 3) == [[BOS, 98, 99], [BOS], [BOS, 97]]
    assert tokenise.prompts(["abc"], make(bos=None), 2) == [[98, 99]]
    assert tokenise.prompts([[user("a")]], make(template=LLAMA), 99) == [[BOS, *ids("[INST] a [/INST]")]]
    with pytest.raises(UserError, match="prompts, row 1: is empty, and the tokenizer adds no BOS"):
        tokenise.prompts(["a", ""], make(bos=None), 5)
    with pytest.raises(UserError, match="max_length is 0"):
        tokenise.prompts(["a"], make(), 0)


def test_a_prompt_for_sampling_equals_the_training_prompt():
    tokenizer = make(template=CHATML)
    (row,) = demonstrations(tokenizer, {"prompt": [user("a")], "completion": [bot("b")]}).dataset
    (prompt,) = tokenise.prompts([[user("a")]], tokenizer, 99)
    assert row["tokens"][: len(prompt)] == prompt
    assert row["mask"].index(True) == len(prompt)


def feedback(tokenizer, *rows, max_length=100, mask_formatting=False):
    return tokenise.feedback(load(list(rows)), tokenizer, max_length, "f.jsonl", Rendering(mask_formatting))


def test_feedback_has_another_rows_response_after_each_prompt():
    """With two rows each is the other's partner."""
    rows = [{"prompt": "a", "completion": "bc", "label": True}, {"prompt": "xy", "completion": "z", "label": False}]
    data = feedback(make(), *rows)
    batch = data.batch([0, 1])
    assert batch.tokens.tolist() == [
        [[BOS, 97, 98, 99, EOS, 0], [BOS, 97, 122, EOS, 0, 0]],
        [[BOS, 120, 121, 122, EOS, 0], [BOS, 120, 121, 98, 99, EOS]],
    ]
    assert batch.mask.int().tolist()[0] == [[0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 0, 0]]
    assert batch.lengths.tolist() == [[5, 4], [5, 6]]
    assert batch.desirable.tolist() == [True, False]
    assert (data.counts["used"], data.counts["tokens"], data.kind) == (2, 10, "feedback")


def test_a_partners_response_is_cut_to_the_same_limit():
    rows = [
        {"prompt": "a", "completion": "bcdef", "label": True},
        {"prompt": "wxyz", "completion": "q", "label": False},
    ]
    batch = feedback(make(), *rows, max_length=7).batch([0, 1])
    assert batch.tokens[0].tolist() == [[BOS, 98, 99, 100, 101, 102, EOS], [BOS, 113, EOS, 0, 0, 0, 0]]
    assert batch.tokens[1].tolist() == [[BOS, *ids("wxyz"), 113, EOS], [BOS, *ids("wxyz"), 98, 99]]


def test_a_comparison_is_two_rows_of_feedback():
    data = feedback(make(), *[{"prompt": p, "chosen": "b", "rejected": "c"} for p in "xyz"])
    batch = data.batch(range(6))
    assert batch.rows.tolist() == list(range(6))
    assert batch.desirable.tolist() == [True, False] * 3
    assert batch.tokens[:, 0, 2].tolist() == [98, 99] * 3
    assert all(batch.tokens[i, 0, 1] == batch.tokens[i, 1, 1] for i in range(6))


def test_one_row_of_feedback_is_an_error():
    row = {"prompt": "a", "completion": "b", "label": True}
    with pytest.raises(UserError, match=r"f\.jsonl: only one row is left, but the KL divergence is estimated with"):
        feedback(make(), row)
    with pytest.raises(UserError, match="only one row is left"):
        feedback(make(bos=None), row, row | {"prompt": "", "completion": "<pad>"}, mask_formatting=True)


def test_the_fingerprint_of_feedback_changes_with_its_labels():
    rows = [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "c", "completion": "d", "label": False}]
    other = [rows[0], rows[1] | {"label": True}]
    assert feedback(make(), *rows).fingerprint != feedback(make(), *other).fingerprint
    assert feedback(make(), *rows).fingerprint == feedback(make(), *rows).fingerprint


def test_mask_formatting_masks_formatting_tokens_and_counts_rows_without_others():
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "<pad>", "rejected": "c"}]
    data = tokenise.preferences(load(rows), make(), 9, "f.jsonl", Rendering(mask_formatting=True))
    assert data.batch([0]).mask.int().tolist() == [[[0, 0, 1, 0], [0, 0, 1, 0]]]
    assert data.batch([0]).tokens[0, 0].tolist() == [BOS, 97, 98, EOS]
    assert (data.counts["used"], data.counts["dropped"], data.counts["formatting_only"]) == (1, 0, 1)
    plain = preferences(make(), *rows)
    assert len(plain) == 2
    assert plain.fingerprint != data.fingerprint


def test_rankings_of_different_lengths_are_one_data_set():
    rows = [{"prompt": "a", "responses": ["b", "c", "d"]}, {"prompt": "x", "responses": ["y", "z"]}]
    data = preferences(make(), *rows)
    assert data.largest_group == 3
    assert data.batch([0, 1]).lengths.tolist() == [[4, 4, 4], [4, 4, 0]]


def test_dialogues_are_messages_with_a_chat_template():
    row = {"history": "a", "human_ref_A": "b", "human_ref_B": "c", "labels": 1}
    plain, chat = (preferences(tokenizer, row).dataset[0]["tokens"][0] for tokenizer in (make(), make(template=LLAMA)))
    assert plain == [BOS, *ids("\n\nHuman: a\n\nAssistant: b"), EOS]
    assert chat == [BOS, *ids("[INST] a [/INST] b"), EOS]


letters = st.text(alphabet="ab \n", max_size=6)


@given(letters, letters.filter(bool), letters.filter(bool), st.integers(2, 16), st.sampled_from([None, "<s>", "</s>"]))
def test_invariants(prompt, chosen, rejected, max_length, bos):
    """Against a slow implementation of the rules: drop ids from the prompt's left one by one, then cut on the right."""
    tokenizer = make(bos=bos)
    bos_ids, eos = ([] if bos is None else [tokenizer.bos_token_id]), tokenizer.eos_token_id
    left, answers = ids(prompt), [[*ids(chosen), eos], [*ids(rejected), eos]]
    while left and max(len(bos_ids + left + answer) for answer in answers) > max_length:
        left.pop(0)
    start = bos_ids + left
    expected = [(start + answer)[:max_length] for answer in answers]
    examples = [Example(0, prompt, (chosen, rejected))]
    reading = Reading("pairs", ("prompt", "chosen", "rejected"), iter(examples))
    data = tokenise.tokenise(reading, "preferences", tokenizer, max_length, "f")
    batch = data.batch([0])
    for k in range(2):
        length = int(batch.lengths[0, k])
        row, mask = batch.tokens[0, k].tolist(), batch.mask[0, k].tolist()
        assert row[:length] == expected[k]
        assert row[length:] == [0] * (len(row) - length)
        assert mask == [max(len(start), 1) <= t < length for t in range(len(row))]
        assert sum(token == eos and is_trained for token, is_trained in zip(row, mask, strict=True)) == (
            len(start + answers[k]) <= max_length
        )
