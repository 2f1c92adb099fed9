"""One example as ids, before and after truncation, by hand: the byte b is the id b, BOS is 256 and EOS 257."""

import pytest

from burnish.data.encode import Encoder
from burnish.data.fit import fit
from burnish.data.formats import Example
from burnish.data.rendering import Rendering
from burnish.data.tokenised import CHUNK
from burnish.run import UserError

from .tokenizers_on_the_spot import CHATML, LLAMA, ids, make

BOS, EOS = 256, 257


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


def fitted(example, max_length=100, mask_formatting=False, **tokenizer):
    encoder = Encoder.checked(make(**tokenizer), max_length, "f", Rendering(mask_formatting))
    (found,) = fit([example], encoder, max_length, "f")
    return found


def trained(response):
    return [token for token, mask in zip(response.tokens, response.mask, strict=True) if mask]


def test_cut_tokens_are_counted():
    """Limit 4: only BOS of BOS a b c is left; "d" EOS fits, the last token of "xyz" EOS is cut."""
    found = fitted(Example(7, "abc", ("d", "xyz")), max_length=4)
    assert found.prompt == [BOS, 97, 98, 99]
    assert [r.tokens for r in found.whole] == [[100, EOS], [120, 121, 122, EOS]]
    assert [r.tokens for r in found.responses] == [[BOS, 100, EOS], [BOS, 120, 121, 122]]
    assert (found.start, found.cut_prompt, found.cut_responses) == (1, 3, [0, 1])
    assert found.example.row == 7


def test_an_example_that_fits_is_not_cut():
    found = fitted(Example(0, "ab", ("c",)))
    assert (found.start, found.cut_prompt, found.cut_responses) == (3, 0, [0])


def test_a_dropped_row_has_no_responses():
    found = fitted(Example(0, "ab", ("c",)), max_length=1)
    assert (found.responses, found.dropped, found.cut_responses) == ([], "dropped", [])


def test_every_example_comes_once_and_in_order():
    encoder = Encoder.checked(make(), 9, "f")
    examples = (Example(i, "", (str(i),)) for i in range(CHUNK + 3))
    assert [found.responses[0].tokens for found in fit(examples, encoder, 9, "f")] == [
        [BOS, *ids(str(i)), EOS] for i in range(CHUNK + 3)
    ]


def test_human_turns_in_a_plain_dialogue_are_not_trained():
    found = fitted(Example(0, "\n\nHuman: a\n\nAssistant:", (" b\n\nHuman: c\n\nAssistant: d",)), max_length=200)
    (response,) = found.responses
    assert response.tokens == [BOS, *ids("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d"), EOS]
    assert trained(response) == [*ids(" b"), *ids(" d"), EOS]


def test_without_formatting_no_special_token_is_trained():
    plain, masked = (fitted(Example(0, "ab", ("c",)), mask_formatting=on).responses[0] for on in (False, True))
    assert (trained(plain), trained(masked)) == ([99, EOS], [99])
    assert plain.tokens == masked.tokens == [BOS, 97, 98, 99, EOS]


def test_without_formatting_a_turns_end_and_the_white_space_behind_it_are_not_trained():
    """ChatML, whose answers end with <|im_end|>. The answer's own white space and newline, and a special token's
    neighbour that is a word, are trained as ever."""
    turn = Example(0, [user("a")], ([bot("b c\nd "), user("e"), bot("f")],))
    plain, masked = (
        fitted(turn, mask_formatting=on, max_length=300, template=CHATML).responses[0] for on in (False, True)
    )
    end = make(template=CHATML).convert_tokens_to_ids("<|im_end|>")
    assert trained(plain) == [*ids("b c\nd "), end, 102, end]
    assert trained(masked) == [*ids("b c\nd "), 102]


def test_without_formatting_a_special_token_inside_an_answer_does_not_end_it():
    masked = fitted(Example(0, "a", ("b<pad> \nc",)), mask_formatting=True).responses[0]
    assert masked.tokens == [BOS, 97, 98, 258, 32, 10, 99, EOS]
    assert trained(masked) == [98, 32, 10, 99]


def test_a_response_with_only_formatting_tokens_is_dropped_and_counted():
    found = fitted(Example(0, "a", ("b", "<pad>")), mask_formatting=True)
    assert (found.responses, found.dropped) == ([], "formatting_only")
    assert fitted(Example(0, "a", ("b", "<pad>"))).responses
    assert fitted(Example(0, "ab", ("c",)), max_length=1, mask_formatting=True).dropped == "dropped"


def test_special_tokens_are_the_tokenizers_special_tokens():
    tokenizer = make()
    tokenizer.add_tokens(["<film>"])
    added = tokenizer.convert_tokens_to_ids("<film>")
    encoder = Encoder.checked(tokenizer, 9, "f", Rendering(mask_formatting=True))
    (found,) = fit([Example(0, "a", ("b<film>",))], encoder, 9, "f")
    assert trained(found.responses[0]) == [98, added]


def test_the_generation_prompt_belongs_to_the_prompt():
    found = fitted(Example(0, [user("a")], ([bot("b")],)), mask_formatting=True, template=LLAMA)
    assert trained(found.responses[0]) == ids(" b")


@pytest.mark.parametrize(
    ("max_length", "options", "sentence"),
    [(0, {}, "max_length is 0; it must be at least 1"), (9, {"eos": None}, "f: the tokenizer has no EOS token")],
)
def test_settings_that_leave_nothing_to_train_are_an_error(max_length, options, sentence):
    with pytest.raises(UserError, match=sentence):
        Encoder.checked(make(**options), max_length, "f")
