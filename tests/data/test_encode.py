"""The ids are the model's own: each kind of tokenizer with each family's chat template, against plain transformers."""

from functools import cache

import pytest
from datasets import Dataset
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from burnish.data import tokenise

from .templates_on_the_spot import FAMILIES, TOKENS, Family
from .tokenizers_on_the_spot import byte_level, sentencepiece

KINDS = {
    "byte level": lambda: byte_level(TOKENS),
    "byte level, BOS": lambda: byte_level(TOKENS, (True, False)),
    "byte level, BOS and EOS": lambda: byte_level(TOKENS, (True, True)),
    "byte level, spaces without offsets": lambda: byte_level(TOKENS, trim=True),
    "always": lambda: sentencepiece("always", added=TOKENS),
    "first, BOS": lambda: sentencepiece("first", added=TOKENS, adders=(True, False)),
    "never": lambda: sentencepiece("never", added=TOKENS),
    "prepend, BOS": lambda: sentencepiece("prepend", added=TOKENS, adders=(True, False)),
    "unigram, always, EOS": lambda: sentencepiece("always", "unigram", TOKENS, adders=(False, True)),
    "unigram, first": lambda: sentencepiece("first", "unigram", TOKENS),
    "first, stripping": lambda: sentencepiece("first", added=TOKENS, strips=True),
    "prepend, stripping": lambda: sentencepiece("prepend", added=TOKENS, strips=True),
}

ANSWERS = ("Yes indeed", "No thanks ☃é!")
TALK = [
    {"role": "user", "content": "Hi there"},
    {"role": "assistant", "content": ANSWERS[0]},
    {"role": "user", "content": "And  then?\n"},
    {"role": "assistant", "content": ANSWERS[1]},
]


@cache
def built(kind: str) -> PreTrainedTokenizerFast:
    return KINDS[kind]()


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return built(request.param)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> Family:
    found = FAMILIES[request.param]
    tokenizer.chat_template = found.template
    return found


def bare(text: str) -> str:
    """Without white space: some tokenizers write more of it than the text has."""
    return "".join(text.split())


def runs(tokens: list[int], mask: list[bool]) -> list[list[int]]:
    """The trained ids of each turn."""
    found: list[list[int]] = []
    for place, (token, trained) in enumerate(zip(tokens, mask, strict=True)):
        if trained and not (place and mask[place - 1]):
            found.append([])
        if trained:
            found[-1].append(token)
    return found


def own(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]], **options: object) -> list[int]:
    """What transformers gives."""
    return list(tokenizer.apply_chat_template(messages, return_dict=True, **options)["input_ids"])


def thought(family: Family) -> str:
    """What stands between the generation prompt and an answer without a thought."""
    return {"Qwen 3": "<think></think>", "R1": "</think>"}.get(next(k for k, v in FAMILIES.items() if v is family), "")


def test_one_answer(tokenizer: PreTrainedTokenizerFast, family: Family) -> None:
    (row,) = tokenise.demonstrations(Dataset.from_list([{"messages": TALK[:2]}]), tokenizer, 999, "f").dataset
    if family is FAMILIES["R1"]:  # the finished turn has no thought
        text = tokenizer.apply_chat_template(TALK[:1], tokenize=False, add_generation_prompt=True)
        whole = tokenizer(f"{text}\n</think>\n\n{ANSWERS[0]}</s>", add_special_tokens=False)["input_ids"]
    else:
        whole = own(tokenizer, TALK[:2])
    count = len(row["tokens"])
    assert row["tokens"] == whole[:count]
    assert bare(tokenizer.decode(whole[count:])) in ("", "</s>")  # Phi's writes an EOS behind the conversation
    (trained,) = runs(row["tokens"], row["mask"])
    assert bare(tokenizer.decode(trained)) == bare(thought(family) + ANSWERS[0] + family.end)


def test_a_prompt_to_sample_from_is_what_stands_before_the_answer(
    tokenizer: PreTrainedTokenizerFast, family: Family
) -> None:
    (prompt,) = tokenise.prompts([TALK[:3]], tokenizer, 999)
    assert prompt == own(tokenizer, TALK[:3], add_generation_prompt=True)
    rows = tokenise.demonstrations(Dataset.from_list([{"messages": TALK}]), tokenizer, 999, "f").dataset
    if family is FAMILIES["Qwen 3"] and any(token.lstrip for token in tokenizer.added_tokens_decoder.values()):
        return  # <think> at the beginning of the answer takes the newline at the prompt's end
    assert rows[-1]["tokens"][: len(prompt)] == prompt
    assert not rows[-1]["mask"][len(prompt) - 1]
    assert rows[-1]["mask"][len(prompt)]


def test_several_answers(tokenizer: PreTrainedTokenizerFast, family: Family) -> None:
    found = tokenise.demonstrations(Dataset.from_list([{"messages": TALK}]), tokenizer, 999, "f")
    turns = [run for row in found.dataset for run in runs(row["tokens"], row["mask"])]
    said = [bare(tokenizer.decode(run)) for run in turns]
    assert said == [bare(thought(family) + answer + family.end) for answer in ANSWERS]
    assert len(found) == (2 if family.rewrites else 1)
    if not family.rewrites:
        (row,) = found.dataset
        assert row["tokens"] == own(tokenizer, TALK)[: len(row["tokens"])]


def test_responses_share_their_prompt(tokenizer: PreTrainedTokenizerFast, family: Family) -> None:
    pair = {"prompt": TALK[:1], "chosen": [TALK[1]], "rejected": [TALK[3]]}
    (row,) = tokenise.preferences(Dataset.from_list([pair]), tokenizer, 999, "f").dataset
    starts = [mask.index(True) for mask in row["mask"]]
    assert starts[0] == starts[1]
    assert row["tokens"][0][: starts[0]] == row["tokens"][1][: starts[0]]


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("Boats:1", "2"),
        ("", "Hi there"),
        ("Hi", " there"),
        ("Hi ", "there"),
        ("Hi\n", "☃"),
        ("Yes  ", "  No"),
        ("Hi", " Yes  "),
        ("é", "é"),
    ],
)
def test_plain_text(tokenizer: PreTrainedTokenizerFast, prompt: str, response: str) -> None:
    whole = tokenizer(prompt + response)["input_ids"]
    whole += [] if whole[-1] == tokenizer.eos_token_id else [tokenizer.eos_token_id]
    rows = [{"prompt": prompt, "completion": response}] * 2
    (row, _) = tokenise.demonstrations(Dataset.from_list(rows), tokenizer, 999, "f").dataset
    assert row["tokens"] == whole
    start = row["mask"].index(True)
    assert all(row["mask"][start:])
    # What is not trained is the prompt's: its beginning, and all of it but a token that reaches into the response.
    if prompt:  # without a BOS the very first token is not trained: it has no context
        before = tokenizer.decode([one for one in whole[:start] if one != tokenizer.bos_token_id])
        assert bare(prompt).startswith(bare(before))
        (alone,) = tokenise.prompts([prompt], tokenizer, 999)
        assert len(alone) - 1 <= start <= len(alone)
        assert whole[: start - 1] == alone[: start - 1]


def test_a_continued_answer_has_the_ids_of_the_whole_message(
    tokenizer: PreTrainedTokenizerFast, family: Family
) -> None:
    begun = [TALK[0], {"role": "assistant", "content": "Yes"}]
    (prompt,) = tokenise.prompts([begun], tokenizer, 999)
    assert prompt == own(tokenizer, begun, continue_final_message=True)
    rows = [{"prompt": begun, "completion": [{"role": "assistant", "content": " indeed"}]}]
    (row,) = tokenise.demonstrations(Dataset.from_list(rows), tokenizer, 999, "f").dataset
    assert row["tokens"] == own(tokenizer, TALK[:2])[: len(row["tokens"])]
    assert row["tokens"][: len(prompt)] == prompt
    (trained,) = runs(row["tokens"], row["mask"])
    assert bare(tokenizer.decode(trained)) == bare("indeed" + family.end)


def test_a_tokenizer_that_does_not_say_which_characters_a_token_has() -> None:
    """ByT5's ids are bytes plus 3, with EOS (1) behind every text; "é" has two. A prompt to sample from has no EOS."""
    slow = ByT5Tokenizer()
    slow.chat_template = (
        "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] }};{% endfor %}{{ 'a:' if add_generation_prompt }}"
    )
    rows = [{"prompt": "é", "completion": "éb"}, {"prompt": "ab", "completion": "c"}]
    one, other = tokenise.demonstrations(Dataset.from_list(rows), slow, 99, "f").dataset
    assert one["tokens"] == [195 + 3, 169 + 3] * 2 + [98 + 3, 1]
    assert one["mask"] == [False] * 2 + [True] * 4
    assert (other["tokens"], other["mask"]) == ([100, 101, 102, 1], [False, False, True, True])
    assert tokenise.prompts(["ab"], slow, 99) == [[100, 101]]
    (talk,) = tokenise.demonstrations(Dataset.from_list([{"messages": TALK[:2]}]), slow, 99, "f").dataset
    assert bytes(one - 3 for one in talk["tokens"][:-1]).decode() == "u:Hi there;a:Yes indeed;"
    assert talk["mask"] == [False] * 13 + [True] * 12
