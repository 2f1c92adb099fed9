"""What ends a text: every expectation is read off the template by eye; ids are 256 and up in the order of `make`."""

from types import SimpleNamespace

import ending
import pytest
from data import tokenizers_on_the_spot as spot

from burnish import ends
from burnish.ends import Ends, ends_of, template_end


@pytest.mark.parametrize(
    ("tokenizer", "end"),
    [
        (ending.make(spot.CHATML, "<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>"),
        (ending.make(spot.CHATML, "<|im_end|>", "<|im_start|>"), "<|im_end|>"),
        (ending.make(spot.CHATML, "</s>", plain=("<|im_start|>", "<|im_end|>")), "<|im_end|>"),
        (ending.make(ending.GEMMA, "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
        (ending.make(ending.PHI, "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>"),
        (
            ending.make(
                ending.LLAMA3,
                "<|end_of_text|>",
                "<|begin_of_text|>",
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|eot_id|>",
            ),
            "<|eot_id|>",
        ),
        (ending.make(ending.LLAMA2, "</s>", "<s>"), "</s>"),
        (ending.make(spot.LLAMA, "</s>", "<s>"), "</s>"),
        (ending.make(ending.STRICT, "</s>"), "</s>"),
        (ending.make(ending.TURNS, "<|endoftext|>"), "<|endoftext|>"),
        (
            ending.make("{% for m in messages %}* {{ m.content }} \n<end>{% endfor %}", "</s>", plain=("<end>",)),
            "<end>",
        ),
        # Plain headers, and the same end after every turn.
        (
            ending.make("{% for m in messages %}{{ m.role }}: {{ m.content }}<end>{% endfor %}", "</s>", "<end>"),
            "<end>",
        ),
        # A content and its end, and nothing else.
        (ending.make("{% for m in messages %}{{ m.content }}<end>{% endfor %}", "</s>", "<end>"), "<end>"),
        (ending.make("{% for m in messages %}{{ m.content }}\n<end>\n{% endfor %}", "</s>", plain=("<end>",)), "<end>"),
        # The longest token that begins there.
        (ending.make(ending.PHI, "<|endoftext|>", "<|", "<|end", "<|end|>"), "<|end|>"),
        (ending.make(ending.PLAIN, "</s>"), None),
        (ending.make(ending.HEADERS, "</s>", "<|user|>", "<|assistant|>"), None),
        (ending.make(ending.BROKEN, "</s>"), None),
        (ending.make(ending.SHOUTING, "</s>"), None),  # the answer cannot be found
        (ending.make(spot.CHATML, "</s>"), None),  # <|im_end|> is text here
        (ending.make(None, "</s>"), None),
    ],
)
def test_the_end_that_a_template_writes(tokenizer, end) -> None:
    assert template_end(tokenizer) == (None if end is None else tokenizer.convert_tokens_to_ids(end))


def config(ids: object) -> SimpleNamespace:
    return SimpleNamespace(eos_token_id=ids)


def test_all_ends_are_one_set() -> None:
    """EOS is 256, padding 257, <|im_start|> 258 and <|im_end|> 259; each end is named once, in order."""
    tokenizer = ending.make(spot.CHATML, "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    ends = ends_of(tokenizer, config([7, 259, 256]))
    assert ends == Ends((256, 7, 259), eos=256, template=259)
    assert [token in ends for token in (7, 8, None)] == [True, False, False]
    assert (ends.trained(conversation=True), ends.trained(conversation=False)) == (259, 256)


@pytest.mark.parametrize(
    ("configs", "ids"),
    [
        ((), (256,)),
        ((config(None),), (256,)),
        ((config(5),), (256, 5)),
        ((config([None, 5, 5, -1]),), (256, 5)),
        ((config((0,)),), (256, 0)),
        ((config(None), config([9])), (256, 9)),  # the model's own configuration has them
        ((config(4), config([9])), (256, 4)),  # as in generate(), which never reads the other one
        ((SimpleNamespace(), config(9)), (256, 9)),
        ((config([300, 258, 9]),), (256, 9)),  # outside the embedding of 258
        ((config([257, 256]),), (256, 257)),  # padding can be an end
    ],
)
def test_the_ends_of_configurations(configs, ids) -> None:
    assert ends_of(ending.make(ending.PLAIN, "</s>"), *configs, vocabulary=258) == Ends(ids, 256)


def test_a_tokenizer_without_eos() -> None:
    tokenizer = ending.make(None, None)
    assert ends_of(tokenizer) == Ends((), None)
    assert ends_of(tokenizer, config([5, 6])) == Ends((5, 6), 5)
    assert ends_of(tokenizer).trained(conversation=True) is None


def test_an_end_outside_the_embedding_is_none() -> None:
    tokenizer = ending.make(spot.CHATML, "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert ends_of(tokenizer, vocabulary=259) == Ends((256,), 256)
    assert ends_of(tokenizer, vocabulary=256) == Ends((), None)


def test_what_ended() -> None:
    ends = Ends((1, 5), 1)
    assert [ends.ended(ids) for ids in ([3, 1], [5], [1, 3], [], [3])] == [True, True, False, False, False]
    assert [ends.without(ids) for ids in ([3, 1], [5], [1, 3], [])] == [[3], [], [1, 3], []]


FOREVER = "{% for i in range(90000) %}{% for j in range(90000) %}aaaa{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (FOREVER, "takes more than 0.01 seconds"),
        ("{{ 'a' * 10**9 }}", "1,000,000,000 characters at once"),
        ("{% set n = 10**12 %}{{ n * messages[0].content }}", "characters at once"),
        ("{{ [1] * 10**12 }}", "characters at once"),
        ("{{ 9 ** (9 ** 9) }}", "a number of millions of digits"),
        ("{{ 'a'|center(20000000) }}", "20,000,000 characters at once"),
        ("{{ '%20000000d' % 1 }}", "20,000,000 characters at once"),
        ("{{ 'a'.ljust(1200000) }}", "writes 1,200,000 characters for a row of"),
        ("{% for i in range(90000) %}{{ 'a' * 20 }}{% endfor %}", "writes 1,800,000 characters for a row of"),
    ],
)
def test_a_template_that_writes_without_bound(template: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no end, and says what it does; one that takes too long is not tried again."""
    monkeypatch.setattr(ends, "SECONDS", 0.01 if template == FOREVER else 60.0)
    monkeypatch.setattr(ends, "_runaways", set())
    tokenizer = spot.make(template=template)
    for _ in range(2):
        with pytest.raises(ends.RunawayTemplateError, match=said):
            ends.rendered(tokenizer, [{"role": "user", "content": "ab"}])
    assert template_end(tokenizer) is None
    assert ends._runaways == ({FOREVER} if template == FOREVER else set())


def test_what_is_within_bounds_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums in a template, and rows that are long themselves."""
    monkeypatch.setattr(ends, "CHARACTERS", 10)
    template = (
        "{{ '-' * 3 }}{{ 2 ** 3 * 1.5 }}{{ '%03d' % 7 }}{% for m in messages %}{{ m.content|center(5) }}{% endfor %}"
    )
    tokenizer = spot.make(template=template)
    assert ends.rendered(tokenizer, [{"role": "user", "content": "abc"}]) == "---12.0007 abc "
    assert ends.rendered(tokenizer, [{"role": "user", "content": "a" * 5000}]).endswith("a" * 5000)
    assert ends.rendered(tokenizer, []) == "---12.0007"
