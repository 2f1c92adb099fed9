"""`burnish data show`: rows token by token, and counts by hand, on small files in published forms."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import published
import pytest
import tiny
from data.templates_on_the_spot import R1
from data.tokenizers_on_the_spot import byte_level, sentencepiece

from burnish.cli import main
from burnish.recipes.data_show import data_show
from burnish.run import UserError

PLAIN = [
    {"prompt": "good film", "chosen": " very fine", "rejected": " bad"},
    {"prompt": "a plot", "chosen": " great", "rejected": " dull and bad"},
    {"prompt": "a plot", "chosen": " great", "rejected": " dull and bad"},
    {"prompt": "the film is", "chosen": " fine", "rejected": " fine"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.save_model(tmp_path_factory.mktemp("plain") / "model"))


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(published.save_model(tmp_path_factory.mktemp("chat") / "model"))


@pytest.fixture
def show(model: str, tmp_path: Path) -> Callable[..., list[str]]:
    """The page of these rows, line by line."""

    def show(rows: list[dict[str, Any]], method: str | None = None, **options: Any) -> list[str]:
        file = tiny.write_rows(tmp_path / "rows.jsonl", rows)
        return data_show(str(file), method, model, **options).replace(str(file), "rows.jsonl").split("\n")

    return show


def test_a_page_of_comparisons(show: Any) -> None:
    """Lengths: prompts with BOS 3, 3, 3, 4; chosen with EOS 3, 2, 2, 2; rejected 2, 4, 4, 2. Chosen is longer in the
    first of four and as long in the last."""
    assert show(PLAIN) == [
        "rows.jsonl: prompt, chosen and rejected (prompt + chosen + rejected)",
        "as `burnish dpo` sees it, at most 48 tokens",
        "prompt  [response]  (masked)  {EOS}  ✂cut✂",
        "",
        "row 0",
        "  prompt: <s>|good|film",
        "  chosen: [very]|[fine]|{</s>}",
        "  rejected: [bad]|{</s>}",
        "",
        "row 1",
        "  prompt: <s>|a|plot",
        "  chosen: [great]|{</s>}",
        "  rejected: [dull]|[and]|[bad]|{</s>}",
        "",
        "row 2",
        "  prompt: <s>|a|plot",
        "  chosen: [great]|{</s>}",
        "  rejected: [dull]|[and]|[bad]|{</s>}",
        "",
        "4 of 4 rows used",
        "0 dropped because no response token is left",
        "0 prompts cut on the left",
        "0 responses cut on the right",
        "1 with equal responses",
        "1 rows that repeat an earlier one",
        "chosen is longer than rejected in 25% of rows, as long in 25%",
        "tokens             least        25 %        half        75 %        95 %        most",
        "prompt                 3           3           3           3           4           4",
        "chosen                 2           2           2           2           3           3",
        "rejected               2           2           2           4           4           4",
        "sampling stops at </s>",
        "training ends with </s>",
    ]


def test_what_is_cut_is_marked_where_it_was(show: Any) -> None:
    """Limit 4: of BOS and three words BOS stays, behind which three are gone; the response is one token too long."""
    page = show(
        [{"prompt": "a very bad", "completion": " good film is great"}, {"prompt": "a", "completion": " fine"}],
        max_length=4,
    )
    assert page[5:7] == ["  prompt: <s>|✂3✂", "  response: [good]|[film]|[is]|✂2✂"]
    assert page[9:11] == ["  prompt: <s>|a", "  response: [fine]|{</s>}"]
    assert "1 prompts cut on the left" in page
    assert "1 responses cut on the right" in page


def test_a_row_that_is_dropped_says_why(show: Any) -> None:
    rows = [
        {"prompt": "a", "chosen": " good", "rejected": "<unk>"},
        {"prompt": "a", "chosen": " good", "rejected": " bad"},
    ]
    page = show(rows, mask_formatting=True)
    assert page[4:6] == ["row 0", "  dropped: some response has only formatting tokens"]
    assert page[8:10] == ["  prompt: <s>|a", "  chosen: [good]|(</s>)"]
    assert "1 of 2 rows used" in page
    assert "1 dropped because only formatting tokens are left" in page
    assert "  dropped: some response has no response token within the limit" in show(rows, max_length=1)


def test_feedback_shows_labels_and_partners_of_the_same_prompt(show: Any) -> None:
    """Of three rows two have one prompt: the third's response can stand behind one of them alone."""
    rows = [{"prompt": "a film", "completion": f" {word}", "label": word != "bad"} for word in ("good", "bad")]
    page = show([*rows, {"prompt": "the plot", "completion": " dull", "label": 0}])
    assert page[1] == "as `burnish kto` sees it, at most 48 tokens"
    assert [line for line in page if line.startswith("row ")] == [
        "row 0, desirable",
        "row 1, not desirable",
        "row 2, not desirable",
    ]
    assert "1 desirable, 2 not" in page
    assert "1 rows whose other response, of another row, answers the same prompt" in page


def test_prompts_leave_room_for_what_is_sampled(show: Any) -> None:
    """48 positions less 32 tokens to be sampled."""
    rows = [{"prompt": "good film " * 10}, {"prompt": "a"}]
    page = show(rows, max_new_tokens=32)
    assert page[1] == "as `burnish ppo` sees it, at most 16 tokens"
    assert page[5] == "  prompt: <s>|✂5✂|" + "|".join(["film", *["good", "film"] * 7])
    assert "2 prompts, 1 cut on the left" in page
    for sampled, room in ((None, 64), (48, 48)):
        with pytest.raises(UserError, match=f"max_new_tokens {room} leaves no room for a prompt in 48 tokens"):
            show(rows, max_new_tokens=sampled)
    with pytest.raises(UserError, match="max_new_tokens only applies to methods that sample, and dpo does not"):
        show(PLAIN, max_new_tokens=8)


def test_margins_confidences_and_rankings(show: Any, model: str) -> None:
    page = data_show(str(published.MARGINS), model=model).split("\n")
    assert page[4] == "row 0, margin 1, confidence 0.9"
    assert "margin               0.5         0.5         0.5           1           1           1" in page
    page = data_show(str(published.RANKED), model=model).split("\n")
    assert page[1].startswith("as `burnish reward`")
    assert [line.split(":")[0].strip() for line in page[5:9]] == ["prompt", "response 1", "response 2", "response 3"]
    with pytest.raises(UserError, match="a row ranks 3 responses, but dpo learns from pairs"):
        data_show(str(published.RANKED), "dpo", model)
    with pytest.raises(UserError, match="hinge does not use confidences: remove that column"):
        data_show(str(published.MARGINS), "hinge", model)


@pytest.mark.parametrize(
    ("file", "format", "method"),
    [
        (published.HH, "Anthropic HH-RLHF", "dpo"),
        (published.TLDR, "OpenAI TL;DR comparisons", "dpo"),
        (published.ULTRAFEEDBACK, "UltraFeedback binarized", "dpo"),
        (published.SHP, "Stanford Human Preferences", "dpo"),
        (published.HELPSTEER, "HelpSteer ratings", "dpo"),
        (published.RANKED, "prompt and ranked responses", "reward"),
        (published.KTO, "KTO's prompt, completion and label", "kto"),
        (published.SHAREGPT, "ShareGPT conversations", "sft"),
    ],
    ids=lambda value: getattr(value, "stem", None),
)
def test_published_forms_are_named(file: Path, format: str, method: str, chat_model: str) -> None:
    page = data_show(str(file), model=chat_model).split("\n")
    assert page[0].startswith(f"{file}: {format} (")
    assert page[1].startswith(f"as `burnish {method}` ")


def test_turns_of_others_are_masked(chat_model: str) -> None:
    page = data_show(str(published.SHAREGPT), model=chat_model).split("\n")
    assert page[6] == (
        "  response: [It]|[is]|[very]|[good.]|[</s>]|(user)|(:)|(And)|(the)|(plot?)|(assistant)|(:)|[Fine.]|{</s>}"
    )


def test_colours_say_the_same_without_marks(show: Any) -> None:
    """Painted, a token has no brackets; unpainted again, it is what stands between them."""
    plain, painted = show(PLAIN), show(PLAIN, colour=True)
    assert painted != plain
    bare = [click.unstyle(line) for line in painted]
    assert [re.sub(r"[\[\]{}()✂]", "", line) for line in plain[:19]] == [
        re.sub(r"[()]", "", line) for line in bare[:19]
    ]
    assert click.style("very", fg="green") in painted[6]


def test_a_token_stands_on_one_line(model: str, tmp_path: Path) -> None:
    """The built-in tokenizer has bytes, of which a letter beyond ASCII may need several."""
    file = tiny.write_rows(tmp_path / "rows.jsonl", [{"text": "a\n\tfilm é 日"}, {"text": "b"}])
    page = data_show(str(file)).split("\n")
    assert "\N{REPLACEMENT CHARACTER}" not in page[6]
    assert "⏎" in page[6]
    assert "⇥" in page[6]


def test_each_token_is_shown_byte_for_byte(tmp_path: Path) -> None:
    """SentencePiece's tokens with their spaces, byte-level ones in their bytes: é is C3 A9, ☃ is E2 98 83."""
    pages = []
    for number, tokenizer in enumerate((sentencepiece("first"), byte_level())):
        tiny.make_model(vocab_size=len(tokenizer)).save_pretrained(tmp_path / str(number))
        tokenizer.save_pretrained(tmp_path / str(number))
        file = tiny.write_rows(tmp_path / "rows.jsonl", [{"prompt": "Hi", "completion": " Yes é☃\n"}] * 2)
        pages.append(data_show(str(file), model=str(tmp_path / str(number))).split("\n")[5:7])
    assert pages[0] == [
        "  prompt: ·Hi",
        "  response: [·Yes]|[·]|[<0xC3>]|[<0xA9>]|[<0xE2>]|[<0x98>]|[<0x83>]|[⏎]|{</s>}",
    ]
    shown = "".join(re.findall(r"\[(.*?)\]", pages[1][1]))
    assert shown == "·Yes·<0xC3><0xA9><0xE2><0x98><0x83>⏎"


def test_conversations_of_a_template_that_rewrites_them(tmp_path: Path) -> None:
    """Two answers are two rows; one of them has no thought behind the prompt that opens one."""
    tokenizer = byte_level(R1.tokens)
    tokenizer.chat_template = R1.template
    tiny.make_model(vocab_size=len(tokenizer), n_positions=200).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["a", "<think>x</think>b", "c", "d"]
    talk = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    file = tiny.write_rows(
        tmp_path / "rows.jsonl", [{"messages": [{"role": "system", "content": "Be kind"}, *talk]}] * 2
    )
    page = data_show(str(file), model=str(tmp_path))
    assert "2 conversations as 4 rows, one per answer, because the chat template rewrites earlier turns" in page
    assert "2 answers without a thought, trained behind an empty one" in page
    assert "2 with a system message that the chat template leaves out" in page
    assert "4 of 4 rows used" in page
    masked = data_show(str(file), model=str(tmp_path), train_thoughts=False, last_answer_only=True)
    assert "  response: (⏎)|(</think>)|(⏎)|(⏎)|[d]|{</s>}" in masked
    with pytest.raises(UserError, match="no answer has a thought, so train_thoughts changes nothing"):
        data_show(str(tiny.write_rows(tmp_path / "plain.jsonl", [{"text": "a"}])), "sft", train_thoughts=False)


@pytest.mark.parametrize(
    ("rows", "method", "sentence"),
    [
        ([{"question": "a"}], None, "its columns are `question`, which no method reads: give "),
        ([{"text": "a"}], "dpo", "comparisons need `chosen` and `rejected`"),
        ([{"prompt": "a", "chosen": "b", "rejected": ""}], None, "row 0: column `rejected` is empty"),
    ],
)
def test_what_is_amiss_is_one_sentence(show: Any, rows: list[Any], method: str | None, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        show(rows, method)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Into a pipe there are no colours; --for and --max-length are passed on, and --rows 0 leaves the numbers alone."""
    file = tiny.write_rows(tmp_path / "rows.jsonl", PLAIN)

    def run(*arguments: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["data", "show", *arguments])
        return caught.value.code, *capfd.readouterr()

    status, out, _ = run(str(file), "--model", model, "--for", "ppo", "--rows", "0", "--max-new-tokens", "8")
    assert status == 0
    assert "as `burnish ppo`" in out
    assert "row 0" not in out
    status, out, _ = run(str(file), "--model", model, "--max-length", "5", "--mask-formatting")
    assert "at most 5 tokens" in out
    assert "(</s>)" in out
    assert "\x1b" not in out
    status, _, err = run(str(file), "--model", model, "--for", "sft", "--mask-formatting")
    assert (status, err.count("\n")) == (2, 1)
    status, _, err = run(str(file), "--model", str(tmp_path / "nowhere"))
    assert status == 2
    assert "nowhere could not be loaded as a language model" in err


def test_what_a_terminal_would_obey_is_written_out(chat_model: str, tmp_path: Path) -> None:
    """In texts, in the names of columns, and in the data's own name."""
    file = tmp_path / "a\x1b[2J.jsonl"
    tiny.write_rows(file, [{"prompt": "a \x1b]0;title\x07 \x9b2J", "completion": "b\u202ec", "k\x1b[2J": "d"}])
    for colour in (False, True):
        page = data_show(str(file), "sft", chat_model, colour=colour)
        bare = click.unstyle(page) if colour else page
        assert not set(bare) & set("\x1b\x07\x9b\u202e")
    assert "a\\x1b[2J.jsonl" in page
