"""Completions as text; which special tokens are shown is read off the tokenizer and its template by eye."""

from types import SimpleNamespace
from typing import Any

import ending
import pytest
from data import tokenizers_on_the_spot as spot

from burnish.ends import Ends, ends_of
from burnish.policies.language.decode import Decoder

SPECIAL = ("<|im_start|>", "<|im_end|>", "<answer>", "<unused>")


def policy(template: str | None = spot.CHATML, eos: str = "<|im_end|>", **roles: str) -> Any:
    """A policy as far as a decoder needs one: bytes, then EOS, padding and `SPECIAL`, and <plain>, which is not."""
    tokenizer = ending.make(template, eos, *SPECIAL, plain=("<plain>",))
    tokenizer.add_special_tokens(dict(roles))
    return SimpleNamespace(tokenizer=tokenizer, ends=ends_of(tokenizer, SimpleNamespace(eos_token_id=ord("!"))))


def ids(one: Any, text: str) -> list[int]:
    return one.tokenizer(text, add_special_tokens=False)["input_ids"]


WRITTEN = "<pad><unused>a<|im_start|><answer>1<plain><|im_end|>"


@pytest.mark.parametrize(
    ("template", "eos", "keep", "shown"),
    [
        # The template writes <|im_start|>; <|im_end|> is an end, EOS or not.
        (spot.CHATML, "<|im_end|>", False, "<unused>a<answer>1<plain>"),
        (spot.CHATML, "</s>", False, "<unused>a<answer>1<plain>"),
        (spot.CHATML, "</s>", True, "<unused>a<|im_start|><answer>1<plain>"),
        # Here it writes neither, and <|im_end|> ends nothing.
        (None, "</s>", False, "<unused>a<|im_start|><answer>1<plain><|im_end|>"),
        (ending.PLAIN, "</s>", True, "<unused>a<|im_start|><answer>1<plain><|im_end|>"),
        # A generation prompt that opens the answer.
        ("{% if add_generation_prompt %}<answer>{% endif %}", "<|im_end|>", False, "<unused>a<|im_start|>1<plain>"),
    ],
)
def test_special_tokens_of_a_response(template: str | None, eos: str, keep: bool, shown: str) -> None:
    one = policy(template, eos)
    decoder = Decoder.of(one, keep)
    assert decoder.responses([ids(one, WRITTEN), [], ids(one, "b")]) == [shown, "", "b"]


def test_ends_are_left_out_at_the_end_alone() -> None:
    """The configuration's end "!" is a byte like any other: a prompt has it, and a completion may only end with it."""
    one = policy()
    for keep in (False, True):
        decoder = Decoder.of(one, keep)
        prompts = [ids(one, "no! "), ids(one, "yes!")]
        assert decoder.texts(prompts, [ids(one, "go!"), []]) == ["no! go", "yes!"]
        assert decoder.responses([ids(one, "go!"), ids(one, "go!!")]) == ["go", "go!"]


def test_roles_and_the_prompts_formatting() -> None:
    one = policy(bos_token="<s>", cls_token="<unused>")
    prompt = ids(one, "<s><|im_start|>user\n<answer>?<|im_end|>\n<|im_start|>assistant\n")
    framed = [ids(one, "<unused><s>x<|im_end|>")]
    assert Decoder.of(one).texts([prompt], framed) == ["user\n<answer>?\nassistant\nx"]
    kept = "<s><|im_start|>user\n<answer>?<|im_end|>\n<|im_start|>assistant\n<unused><s>x"
    assert Decoder.of(one, keep_special_tokens=True).texts([prompt], framed) == [kept]


def test_without_special_tokens_of_its_own_a_text_is_as_transformers_decodes_it() -> None:
    one = policy(bos_token="<s>")
    rows = [ids(one, text) for text in ("<s> a film<|im_end|>", " né <plain>", "<|im_start|>", "")]
    rows.append(rows[1][:3])  # half a character
    assert Decoder.of(one).responses(rows) == one.tokenizer.batch_decode(rows, skip_special_tokens=True)


def said(decoder: Decoder, completions: list[list[int]]) -> list[str]:
    sentences: list[str] = []
    decoder.warn(completions, sentences.append)
    return sentences


def test_what_the_template_writes_and_a_text_lacks_is_said() -> None:
    """Once per token, for whatever number of completions; ends, padding and what is shown are no loss."""
    one = policy("<s>" + spot.CHATML + "{% if add_generation_prompt %}<answer>{% endif %}", bos_token="<s>")
    written = [ids(one, WRITTEN), ids(one, "<answer><answer>"), ids(one, "x")]
    first, second = said(Decoder.of(one), written)
    assert first == (
        "warning: completions contain <|im_start|>, a special token of the chat template, which is left out of their "
        "text: --keep-special-tokens keeps it"
    )
    assert " <answer>, " in second
    assert said(Decoder.of(one), [ids(one, "<s><pad><unused>x<plain><|im_end|>")]) == []
    assert said(Decoder.of(one, keep_special_tokens=True), written) == []
    assert said(Decoder.of(policy(None)), written) == []


def test_a_tokenizer_without_any_special_token() -> None:
    tokenizer = spot.make(bos=None, eos=None, pad=None)
    decoder = Decoder.of(SimpleNamespace(tokenizer=tokenizer, ends=Ends((), None)))
    assert decoder.texts([[97]], [[98, 99]]) == ["abc"]
