"""Published data sets with their own columns: prompt, chosen and rejected of each, and the error for invalid rows."""

import pytest
from published import HELPSTEER, HH, SHP, TLDR

from burnish.data import dialogues
from burnish.data.dialogues import Source
from burnish.data.formats import Example
from burnish.data.sources import load
from burnish.run import UserError


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


def source(data, chat=False):
    return Source(load(data), "f.jsonl", chat)


def refused(read, *rows):
    with pytest.raises(UserError) as caught:
        list(read(source(list(rows))))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_transcripts_share_what_comes_before_the_last_answer():
    talk = "\n\nHuman: Is the film good?\n\nAssistant: Which film?\n\nHuman: The dull one.\n\nAssistant:"
    assert list(dialogues.transcripts(source(HH))) == [
        Example(0, talk, (" No, the plot is bad.", " It is not fine.")),
        Example(1, "\n\nHuman: Hello\n\nAssistant:", (" Good day", " Good\n\nHuman: And?\n\nAssistant: Nothing")),
        Example(2, "\n\nHuman: Is the plot fine?\n\nAssistant:", (" Yes.", " Yes.")),
    ]


def test_transcripts_are_messages_with_a_chat_template():
    assert list(dialogues.transcripts(source(HH, chat=True))) == [
        Example(
            0,
            [user("Is the film good?"), bot("Which film?"), user("The dull one.")],
            ([bot("No, the plot is bad.")], [bot("It is not fine.")]),
        ),
        Example(1, [user("Hello")], ([bot("Good day")], [bot("Good"), user("And?"), bot("Nothing")])),
        Example(2, [user("Is the plot fine?")], ([bot("Yes.")], [bot("Yes.")])),
    ]


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        # The answers begin with the same words, which do not belong to the prompt.
        ("\n\nHuman: a\n\nAssistant: b c", "\n\nHuman: a\n\nAssistant: b d", "\n\nHuman: a\n\nAssistant:"),
        # One dialogue continues where the other ends.
        (
            "\n\nHuman: a\n\nAssistant: b",
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
            "\n\nHuman: a\n\nAssistant:",
        ),
        # They diverge in a human turn, so the last common assistant turn is the one before.
        (
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: x\n\nAssistant: d",
            "\n\nHuman: a\n\nAssistant:",
        ),
        # A marker that is common only in part does not count.
        (
            "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c",
            "\n\nHuman: a\n\nAssistant: b\n\nAssist me",
            "\n\nHuman: a\n\nAssistant:",
        ),
    ],
)
def test_the_prompt_ends_at_the_last_common_marker(chosen, rejected, prompt):
    (found,) = dialogues.transcripts(source([{"chosen": chosen, "rejected": rejected}]))
    assert (found.prompt, *(found.prompt + text for text in found.responses)) == (prompt, chosen, rejected)


@pytest.mark.parametrize(
    ("chosen", "rejected", "sentence"),
    [
        ("\n\nHuman: a\n\nAssistant:", "\n\nHuman: a\n\nAssistant: b", "column `chosen` has an empty assistant turn"),
        (
            "\n\nHuman: a\n\nAssistant: b",
            "\n\nHuman: a\n\nAssistant: \n",
            "column `rejected` has an empty assistant turn",
        ),
        (
            "\n\nHuman: a\n\nAssistant: b",
            "\n\nHuman: a\n\nAssistant: c\n\nHuman: d\n\nAssistant:",
            "column `rejected` has an empty assistant turn",
        ),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: c\n\nAssistant: d", "must begin with the same Human: turn"),
        ("\n\nHuman: a", "\n\nHuman: a", "must begin with the same Human: turn"),
        (
            "a\n\nAssistant: b",
            "a\n\nAssistant: c",
            "must begin with the same Human: turn, followed by Assistant:",
        ),
        (None, "\n\nHuman: a\n\nAssistant: d", "column `chosen` is None, not text"),
        ("", "\n\nHuman: a\n\nAssistant: d", "column `chosen` is empty"),
    ],
)
def test_an_invalid_transcript_is_named(chosen, rejected, sentence):
    fine = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    said = refused(dialogues.transcripts, fine, {"chosen": chosen, "rejected": rejected})
    assert said.startswith("f.jsonl, row 1: ")
    assert sentence in said


def test_transcripts_are_detected_by_their_markers():
    assert dialogues.are_transcripts(load(HH))
    for text in (
        "a b",
        "Human: a",
        "\n\nHuman: a",
        "a\n\nHuman: b\n\nAssistant: c",
        [user("\n\nHuman: \n\nAssistant:")],
    ):
        assert not dialogues.are_transcripts(load([{"chosen": text, "rejected": text}]))


def test_human_turns_are_separate_pieces():
    """Concatenated, the pieces are the text, whatever the order of the markers."""
    prompt = "\n\nHuman: a\n\nAssistant:"
    text = " b\n\nHuman: c\n\nAssistant: d\n\nHuman: e\n\nHuman: f\n\nAssistant: g\n\nAssistant: h"
    pieces = dialogues.spoken(prompt, text)
    assert "".join(piece for piece, _ in pieces) == text
    assert [piece for piece, said in pieces if said] == [" b", " d", " g\n\nAssistant: h"]
    assert dialogues.spoken("a", text) == [(text, True)]
    assert dialogues.spoken(prompt, " b") == [(" b", True)]


def test_consecutive_turns_of_one_speaker_are_merged_and_empty_ones_dropped():
    talk = "\n\nHuman: a\n\nHuman: b\n\nAssistant: \n\nAssistant: c\n\nHuman:"
    assert dialogues.parsed(talk) == [user("a\n\nb"), bot("c")]


def test_summaries_of_posts_and_articles():
    first, second, third = dialogues.summaries(source(TLDR))
    post = "I saw a film with a friend.\n\nIt was very dull, and the plot was bad."
    assert first.prompt == f"SUBREDDIT: r/films\n\nTITLE: A film night\n\nPOST: {post}\n\nTL;DR:"
    assert first.responses == (" Saw a dull film with a friend; bad plot.", " Saw a film.")  # `choice` is 1
    assert second.responses == (" The plot is great.", " A film.")  # `choice` is 0
    assert third.prompt == "Article:\n\nA new film is out. It is fine.\n\nTL;DR:"
    assert third.responses == (" A new film is out.", " It is fine.")
    assert [(e.row, e.margin, e.confidence) for e in (first, second, third)] == [(i, None, None) for i in range(3)]


def test_summaries_are_messages_with_a_chat_template():
    _, found, _ = dialogues.summaries(source(TLDR, chat=True))
    asked = "SUBREDDIT: r/books\n\nTITLE: Great plot\n\nPOST: The plot of the film is great.\n\nTL;DR:"
    assert found == Example(1, [user(asked)], ([bot("The plot is great.")], [bot("A film.")]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"choice": 2}, "column `choice` is 2, but it must be 0 or 1"),
        ({"choice": None}, "column `choice` is None, but it must be 0 or 1"),
        ({"choice": -1}, "column `choice` is -1, but it must be 0 or 1"),
        ({"summaries": [{"text": "a"}]}, "column `summaries` must contain two summaries"),
        ({"summaries": None}, "column `summaries` must contain two summaries"),
        ({"summaries": [{"text": "a"}, {"text": " "}]}, "column `summaries`, summary 1 is empty"),
        ({"info": {"post": "", "title": "t"}}, "column `info`, `post` is empty"),
        ({"info": None}, "column `info`, `post` is None, not text"),
    ],
)
def test_an_invalid_comparison_of_summaries_is_named(change, sentence):
    row = {"info": {"post": "p", "title": "t"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 0}
    assert f"f.jsonl, row 0: {sentence}" in refused(dialogues.summaries, row | change)


def test_forum_comments():
    """`labels` is 1 if A was preferred; 340 − 12 and 52 − 13 votes."""
    assert list(dialogues.forum_comments(source(SHP))) == [
        Example(
            0,
            "\n\nHuman: Which film is very good?\n\nAssistant:",
            (" A great film with a fine plot.", " The dull one is good."),
            margin=328.0,
        ),
        Example(1, "\n\nHuman: Is the plot bad?\n\nAssistant:", (" The plot is fine.", " It was dull."), margin=39.0),
    ]
    _, second = dialogues.forum_comments(source(SHP, chat=True))
    assert second.prompt == [user("Is the plot bad?")]
    assert second.responses == ([bot("The plot is fine.")], [bot("It was dull.")])


def test_comments_without_votes_have_no_margin():
    row = {"history": "a", "human_ref_A": "b", "human_ref_B": "c", "labels": 1}
    (found,) = dialogues.forum_comments(source([row]))
    assert (found.responses, found.margin) == ((" b", " c"), None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": 2}, "column `labels` is 2, but it must be 0 or 1"),
        ({"labels": "A"}, "column `labels` is 'A', but it must be 0 or 1"),
        ({"human_ref_B": " "}, "column `human_ref_B` is empty"),
        ({"history": None}, "column `history` is None"),
        ({"score_A": None}, "column `score_A` is None, not a finite number"),
    ],
)
def test_an_invalid_comment_is_named(change, sentence):
    row = {"history": "a", "human_ref_A": "b", "human_ref_B": "c", "labels": 1, "score_A": 2, "score_B": 1}
    assert f"f.jsonl, row 0: {sentence}" in refused(dialogues.forum_comments, row | change)


def test_two_rated_rows_with_one_prompt_are_a_pair():
    """Ratings 3 and 1; 2 and 2, a tie; 0 and 4, where the second is better; and a prompt with one row."""
    ratings = source(HELPSTEER)
    assert list(dialogues.rated("helpfulness", True)(ratings)) == [
        Example(0, "\n\nHuman: Is the film good?\n\nAssistant:", (" The film is fine.", " Bad."), margin=2.0),
        Example(
            4,
            "\n\nHuman: And the film?\n\nAssistant:",
            (" The film is great and the plot is very fine.", " Not."),
            margin=4.0,
        ),
    ]
    assert ratings.left_out == {"ties": 1, "alone": 1, "between": 0}


def test_many_rated_rows_give_the_best_against_the_worst():
    rows = [
        {"prompt": "a", "response": text, "score": score} for text, score in zip("bcdef", (3, 5, 1, 5, 1), strict=True)
    ]
    rows.insert(2, {"prompt": "x", "response": "y", "score": 1})
    rows.append({"prompt": "x", "response": "z", "score": 0.5})
    ratings = source(rows, chat=True)
    assert list(dialogues.rated("score", True)(ratings)) == [
        Example(0, [user("a")], ([bot("c")], [bot("d")]), margin=4.0),
        Example(2, [user("x")], ([bot("y")], [bot("z")]), margin=0.5),
    ]
    assert ratings.left_out["between"] == 3


def test_scored_continuations_are_unchanged_texts():
    rows = [{"prompt": "", "response": text, "score": score} for text, score in ((" a", 1), ("b ", 2))]
    assert list(dialogues.rated("score", False)(source(rows, chat=True))) == [Example(0, "", ("b ", " a"), margin=1.0)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"helpfulness": None}, "column `helpfulness` is None, not a finite number"),
        ({"response": ""}, "column `response` is empty"),
        ({"prompt": 3}, "column `prompt` is of type int, not text"),
    ],
)
def test_an_invalid_rating_is_named(change, sentence):
    said = refused(dialogues.rated("helpfulness", True), {"prompt": "a", "response": "b", "helpfulness": 1} | change)
    assert f"f.jsonl, row 0: {sentence}" in said


def test_questions_of_rated_rows_are_the_prompts_of_their_pairs():
    for chat in (False, True):
        pairs = {
            example.row: example.prompt for example in dialogues.rated("helpfulness", True)(source(HELPSTEER, chat))
        }
        asked = [example.prompt for example in dialogues.questions(source(HELPSTEER, chat))]
        assert len(asked) == 7
        assert {row: asked[row] for row in pairs} == pairs
