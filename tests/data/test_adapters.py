"""Format detection, and what each kind of method reads: every published format, from its sample file."""

import json
import re
from pathlib import Path

import pytest
from published import (
    HELPSTEER,
    HH,
    KTO,
    MARGINS,
    RANKED,
    RANKED_BY_NUMBERS,
    SHAREGPT,
    SHP,
    TLDR,
    ULTRAFEEDBACK,
)

from burnish.data import adapters
from burnish.data.formats import Example
from burnish.data.sources import load
from burnish.run import UserError

FILES = (HH, TLDR, ULTRAFEEDBACK, KTO, SHP, HELPSTEER, SHAREGPT, RANKED, RANKED_BY_NUMBERS, MARGINS)


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


def read(kind, data, chat=False):
    return adapters.READERS[kind](load(data), "f.jsonl", chat)


def examples(kind, data, chat=False):
    return list(read(kind, data, chat).examples)


def refused(kind, data):
    with pytest.raises(UserError) as caught:
        examples(kind, data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "format", "count"),
    [
        (HH, "Anthropic HH-RLHF", 3),
        (TLDR, "OpenAI TL;DR comparisons", 3),
        (ULTRAFEEDBACK, "UltraFeedback binarized", 3),
        (SHP, "Stanford Human Preferences", 2),
        (HELPSTEER, "HelpSteer ratings", 2),
        (RANKED, "prompt and ranked responses", 2),
        (RANKED_BY_NUMBERS, "prompt and ranked responses", 2),
        (MARGINS, "prompt, chosen and rejected", 2),
    ],
    ids=lambda value: getattr(value, "stem", None),
)
def test_comparisons_are_detected_by_their_columns(file, format, count):
    reading = read("preferences", file)
    assert reading.format == format
    assert set(reading.columns) <= set(load(file).column_names)
    assert len(list(reading.examples)) == count


@pytest.mark.parametrize("kind", adapters.READERS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_kind_reads_every_file_or_raises_a_clear_error(kind, file):
    known = {
        "demonstrations": {ULTRAFEEDBACK, SHAREGPT},
        "preferences": {HH, TLDR, ULTRAFEEDBACK, SHP, HELPSTEER, RANKED, RANKED_BY_NUMBERS, MARGINS},
        "feedback": {HH, TLDR, ULTRAFEEDBACK, SHP, HELPSTEER, KTO, MARGINS},
        "prompts": set(FILES),
    }[kind]
    if file in known:
        assert examples(kind, file)
    else:
        assert refused(kind, file).startswith("f.jsonl: ")


def test_ultrafeedback_has_margins_and_no_prompt_twice():
    assert examples("preferences", ULTRAFEEDBACK)[:2] == [
        Example(0, [user("Is the film good?")], ([bot("The film is very good.")], [bot("No.")]), margin=4.5),
        Example(
            1, [user("Is the plot dull?")], ([bot("It is not dull.")], [bot("The plot is dull and bad.")]), margin=0.0
        ),
    ]
    assert examples("demonstrations", ULTRAFEEDBACK)[2] == Example(
        2, [user("Name a great film.")], ([bot("A fine film is great.")],)
    )


def test_empty_score_columns_are_ignored_and_partly_empty_ones_are_an_error():
    row = {"prompt": "a", "chosen": " b", "rejected": " c", "score_chosen": None, "score_rejected": None}
    assert examples("preferences", [row]) == [Example(0, "a", (" b", " c"))]
    told = row | {"score_chosen": 1.5, "score_rejected": 2}
    assert examples("preferences", [told])[0].margin == -0.5
    assert "row 1: column `score_chosen` is None, not a finite number" in refused("preferences", [told, row])
    assert examples("preferences", [{k: v for k, v in told.items() if k != "prompt"} | {"chosen": "a b"}])


def test_ranked_responses_are_sorted():
    expected = [
        Example(0, "The film is", (" very good", " fine", " bad")),
        Example(1, "A plot", (" great", " dull and bad")),
    ]
    assert examples("preferences", RANKED) == expected
    assert examples("preferences", RANKED_BY_NUMBERS) == expected


def test_conversations_are_messages():
    first, second = examples("demonstrations", SHAREGPT)
    assert first.prompt == [{"role": "system", "content": "Films only."}, user("Is the film good?")]
    assert first.responses == ([bot("It is very good."), user("And the plot?"), bot("Fine.")],)
    assert second == Example(1, [user("A great film?")], ([bot("The dull one.")],))
    assert [example.prompt for example in examples("prompts", SHAREGPT)] == [first.prompt, second.prompt]


def test_feedback():
    assert examples("feedback", KTO) == [
        Example(0, "The film is", (" very good",), desirable=True),
        Example(1, "The film is", (" bad bad bad",), desirable=False),
        Example(2, "A plot", (" and a great film",), desirable=True),
    ]


def test_a_pair_gives_a_desirable_and_an_undesirable_response():
    talk = "\n\nHuman: Hello\n\nAssistant:"
    assert examples("feedback", HH)[2:4] == [
        Example(2, talk, (" Good day",), desirable=True),
        Example(3, talk, (" Good\n\nHuman: And?\n\nAssistant: Nothing",), desirable=False),
    ]
    assert [e.row for e in examples("feedback", TLDR)] == list(range(6))


@pytest.mark.parametrize("file", [file for file in FILES if file != SHAREGPT], ids=lambda file: file.stem)
@pytest.mark.parametrize("chat", [False, True])
def test_prompts_are_those_of_a_preference_method(file, chat):
    kind = "feedback" if file == KTO else "preferences"
    learned = {example.row: example.prompt for example in examples(kind, file, chat)}
    asked = {example.row: example.prompt for example in examples("prompts", file, chat)}
    assert {row: asked[row] for row in learned} == learned
    assert all(e.responses == () and e.margin is None for e in examples("prompts", file, chat))


def test_prompts_beside_scored_responses_stay_as_they_are():
    """The output of `burnish sample` can be sampled from again, and compared."""
    rows = [{"prompt": "The film", "response": text, "score": score} for text, score in ((" is", 1.0), (" was", 2.0))]
    assert [example.prompt for example in examples("prompts", rows, chat=True)] == ["The film"] * 2
    assert examples("preferences", rows, chat=True) == [Example(0, "The film", (" was", " is"), margin=1.0)]


@pytest.mark.parametrize(
    ("file", "columns"),
    [(HH, ("chosen", "rejected")), (TLDR, ("info",)), (SHP, ("history",)), (RANKED, ("prompt",)), (KTO, ("prompt",))],
    ids=lambda value: getattr(value, "stem", None),
)
def test_columns_that_contain_the_prompt_are_not_columns_for_rewards(file, columns):
    assert read("prompts", file).columns == columns


def test_margins_and_confidences_go_with_any_pair():
    """A missing confidence is 1."""
    first, second = examples("preferences", MARGINS)
    assert (first.margin, first.confidence, second.margin, second.confidence) == (1.0, 0.9, 0.5, 1.0)
    texts = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    (found,) = examples("preferences", [texts | {"margin": "2", "confidence": "0.25"}])  # as in a CSV file
    assert (found.margin, found.confidence) == (2.0, 0.25)
    votes = {"history": "a", "human_ref_A": "b", "human_ref_B": "c", "labels": 1, "score_A": 5, "score_B": 2}
    (found,) = examples("preferences", [votes | {"margin": 0.75}])
    assert found.margin == 0.75  # the user's column, not the difference of votes


def test_empty_columns_are_ignored():
    row = {"prompt": "a", "chosen": " b", "rejected": " c", "margin": None, "confidence": ""}
    assert examples("preferences", [row, row])[1] == Example(1, "a", (" b", " c"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"confidence": 1.5},
            "row 1: column `confidence` is 1.5, but it must be the probability that the chosen response",
        ),
        ({"confidence": -0.1}, "row 1: column `confidence` is -0.1, but it must be the probability"),
        ({"confidence": "sure"}, "row 1: column `confidence` is 'sure', not a finite number"),
        ({"margin": None}, "row 1: column `margin` is None, not a finite number"),
        ({"margin": "wide"}, "row 1: column `margin` is 'wide', not a finite number"),
    ],
)
def test_an_invalid_number_is_named(change, sentence):
    fine = {"prompt": "a", "chosen": " b", "rejected": " c", "confidence": "1", "margin": "1"}
    rows = [fine, fine | {key: None if value is None else str(value) for key, value in change.items()}]
    assert sentence in refused("preferences", rows)


def test_margins_of_rankings_are_an_error():
    rows = [{"prompt": "a", "responses": [" b", " c", " d"], "margin": 1.0}]
    assert "`margin` can only describe a pair, but a row is not a pair here" in refused("preferences", rows)
    rows = [{"prompt": "a", "response": "b", "helpfulness": 1, "confidence": 1.0, "margin": 2}]
    assert "`confidence` and `margin` can only describe a pair" in refused("preferences", rows)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"responses": [" b"]}, "column `responses` has 1 responses, but a comparison needs at least two"),
        ({"responses": None}, "column `responses` has 0 responses"),
        ({"responses": [" b", ""]}, "column `responses`, response 1 is empty"),
        ({"ranks": [1]}, "column `ranks` must contain one number for each of the 2 responses"),
        ({"ranks": None}, "column `ranks` must contain one number"),
        ({"ranks": [1, 1]}, "column `ranks` contains equal ranks"),
        ({"ranks": [1, None]}, "column `ranks` is None, not a finite number"),
    ],
)
def test_an_invalid_ranking_is_named(change, sentence):
    fine = {"prompt": "a", "responses": [" b", " c"], "ranks": [1, 2]}
    said = refused("preferences", [fine, fine | change])
    assert said.startswith("f.jsonl, row 1: ")
    assert sentence in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": "good"}, "row 1: column `label` is 'good', but it must be true or false (or 1 or 0)"),
        ({"label": None}, "row 1: column `label` is None, but it must be true or false"),
        ({"completion": ""}, "row 1: column `completion` is empty"),
    ],
)
def test_invalid_feedback_is_named(change, sentence):
    fine = {"prompt": "a", "completion": " b", "label": "true"}
    assert sentence in refused("feedback", [fine, fine | change])


def test_data_of_another_kind_names_its_command():
    assert "which are data for `burnish kto`" in refused("preferences", KTO)
    assert "these are comparisons (Stanford Human Preferences), which are data for `burnish dpo`" in refused(
        "demonstrations", SHP
    )
    assert "feedback needs `prompt`, `completion` and `label`, or comparisons, but its columns are `text`" in refused(
        "feedback", [{"text": "a"}]
    )
    assert "a ranking does not say which responses are good" in refused("feedback", RANKED)


@pytest.mark.parametrize("labels", [(True, False), ("True", "FALSE")])
def test_completions_with_a_boolean_label_are_not_demonstrations(labels):
    rows = [{"prompt": "a", "completion": " b", "label": label} for label in labels]
    assert "`label` marks some completions as bad; use `burnish kto`" in refused("demonstrations", rows)
    for others in ((0, 1), ("film", "plot")):  # may mean anything
        rows = [{"prompt": "a", "completion": " b", "label": label} for label in others]
        assert len(examples("demonstrations", rows)) == 2


def blocks():
    """The rows of each JSON listing in docs/data_formats.md."""
    page = (Path(__file__).parents[2] / "docs" / "data_formats.md").read_text()
    return [
        [json.loads(line) for line in found.split("\n")] for found in re.findall(r"```json\n(.*?)\n```", page, re.S)
    ]


@pytest.mark.parametrize(
    ("place", "kind", "format", "count"),
    [
        (0, "preferences", "Anthropic HH-RLHF", 3),
        (1, "preferences", "OpenAI TL;DR comparisons", 3),
        (2, "preferences", "UltraFeedback binarized", 3),
        (3, "preferences", "Stanford Human Preferences", 3),
        (4, "preferences", "prompt and ranked responses", 3),
        (5, "preferences", "HelpSteer ratings", 1),
        (6, "feedback", "KTO's prompt, completion and label", 3),
        (7, "demonstrations", "ShareGPT conversations", 3),
    ],
)
def test_the_documented_rows_have_the_documented_format(place, kind, format, count):
    assert len(blocks()) == 8
    reading = read(kind, blocks()[place])
    assert reading.format == format
    assert len(list(reading.examples)) == count
