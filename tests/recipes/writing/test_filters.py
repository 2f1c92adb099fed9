import pytest

from burnish.recipes.writing import filters

PLAIN = "The film begins well, but the jokes fall flat and the ending is a mess. I would not see it again."


@pytest.mark.parametrize(
    ("text", "sentences", "left"),
    [
        ("It is good. It is long. And then", None, "It is good. It is long."),
        ("It is good! It is long. I liked it.", 2, "It is good! It is long."),
        ('He said "Go." And\nleft. The', None, 'He said "Go." And left.'),
        ("It cost 3.50 in all. No", None, "It cost 3.50 in all."),
        ("What?! Nothing… at all", None, "What?!"),
        ("no end at all", None, ""),
        ("", None, ""),
        ('He is late. He said "I am. And I go. There', None, "He is late."),
        (
            "It is good (I think. It is long. Really) all of it. So",
            None,
            "It is good (I think. It is long. Really) all of it.",
        ),
        ("The film is good. It is long. The film, is GOOD! It ends.", None, "The film is good. It is long."),
        ("No. Oh no. No. Oh no. The end.", None, "No. Oh no. No. Oh no. The end."),
    ],
)
def test_an_unfinished_last_sentence_is_cut(text: str, sentences: int | None, left: str) -> None:
    assert filters.cut(text, sentences) == left


def test_a_text_ends_before_a_sentence_with_a_word_that_does_not_exist() -> None:
    assert filters.cut("It is good. It is mislies. It is long.", None, lambda word: word != "mislies") == "It is good."


REASONS = {
    "markup": [
        "Three things:\n- the cast\n- the music",
        "1. The cast is good.\n2. The music is good.",
        "The **cast** is good.",
        "# A review\nThe cast is good.",
        "See https://example.org for more.",
        "Review:\nThe cast is good.",
        "| a | b |",
        "<b>Good</b>",
    ],
    "assistant": [
        "As an AI language model, I have not seen it.",
        "I'm sorry, but I do not know this film.",
        "I cannot provide a review of it.",
        "Your review is a bit too long for me.",
        "I am glad to hear that you liked it.",
        "Let me know what you think of it.",
        "Feel free to change it.",
        "This is a rewritten sentence.",
        "I've added a detail about the trailer.",
        "The first sentence has been rephrased.",
    ],
    "echo": [
        "Here is a short review of the film.",
        "Here's the story that you asked for.",
        "Sure! It is a good film.",
        "Certainly, the film is good.",
        "It is a film in one or two sentences.",
        "It has 80 words about a film.",
    ],
    "not English": [
        "Le film est très ennuyeux et la musique n'aide pas du tout.",
        "Это очень скучный фильм.",
        "Film gut Musik schlecht Ende gut alles gut Publikum zufrieden heute abend.",
    ],
    "loop": [
        "The film was just about as long as a human being. The film was just about as long as a human being.",
        "It is a very very very long film, and I liked it.",
    ],
}


@pytest.mark.parametrize(("reason", "text"), [(reason, text) for reason, texts in REASONS.items() for text in texts])
def test_each_filter_finds_its_kind(reason: str, text: str) -> None:
    assert filters.CHECKS[reason](text)


@pytest.mark.parametrize("reason", filters.CHECKS)
@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "As an actor he is good, and as a father he is there for his sister: that is the whole story of it.",
        "Here is a film that tells the story of a baker - and of the war. I'm sorry that it ended so soon.",
        "“I don’t know,” he said — and it was a cliché of the café kind, as his mother had it in the old days.",
        "The 2 women wait for the bus. It is late: 30 minutes, they say, and nobody in the street is surprised.",
    ],
)
def test_plain_english_passes_every_filter(reason: str, text: str) -> None:
    assert not filters.CHECKS[reason](text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('"Did you like the film? I did not.', True),
        ("“Did you like the film? I did not.", True),
        ("The film (a comedy is not very funny.", True),
        ('"Did you like the film?" “I did (not).”', False),
    ],
)
def test_an_open_quotation_or_bracket_is_found(text: str, wrong: bool) -> None:
    assert filters.is_unbalanced(text) is wrong


def test_duplicates_and_near_duplicates() -> None:
    """Of 17 4-grams the second text has 13 in common: one word of 20 differs, and 4 runs of four contain it."""
    seen = filters.Seen()
    text = "the old man walks to the harbour and waits there for a boat that never comes back with his son"
    assert seen.reason(text) is None
    assert seen.reason(text.upper() + "!") == "duplicate"
    assert seen.reason(text.replace("harbour", "station")) == "near duplicate"
    assert seen.reason("she walks to the harbour and waits for nobody at all because she likes the cold sea") is None
    assert seen.count == 2


def test_a_short_text_is_a_near_duplicate_only_of_a_similar_one() -> None:
    """Three 4-grams: at least two must agree. Changing the last word leaves two of them, changing the third none."""
    seen = filters.Seen()
    assert seen.reason("we liked this film very much") is None
    assert seen.reason("we liked that film very much") is None
    assert seen.reason("we liked this film very little") == "near duplicate"


def test_a_long_run_of_a_held_out_review_is_found() -> None:
    """Eight words in a row are too many, in whatever case and punctuation; seven are not."""
    runs = filters.runs_of(["a film of great beauty that nobody will want to see twice"])
    assert filters.copies('He called it "a Film of great beauty, that nobody will" love.', runs)
    assert not filters.copies("I saw a film of great beauty that nobody likes.", runs)


def test_kept_counts_what_each_filter_leaves_out() -> None:
    held_out = ["the ability of the human spirit to go on and on"]
    texts = [
        PLAIN + " And then",
        PLAIN,
        "**Bold.** " + PLAIN,
        "As an AI I like it. " + PLAIN,
        "Sure, it is good. " + PLAIN,
        "It is very, very, very good. " + PLAIN,
        "no end",
        "It shows the ability of the human spirit to go on and on in a small town.",
        PLAIN.replace("a mess", "a disaster"),
        "It shows the ability of a small town to surprise everybody. It is mislies of the spirit.",
        "It is mislier. " + PLAIN,
    ]
    rows = [{"kind": "review", "text": text} for text in texts]
    rows.append({"kind": "remark", "text": "It is a film of few words and many looks. I liked it. It is odd. It"})
    found, counts = filters.kept(rows, held_out, lambda word: not word.startswith("misli"))
    remark, shortened = "It is a film of few words and many looks. I liked it.", texts[-2].partition(". ")[0] + "."
    assert found == [PLAIN, shortened, remark]
    wanted = {"kept": 3, "shortened": 1, "markup": 1, "assistant": 1, "echo": 1, "loop": 1, "held out": 1, "short": 2}
    assert counts == wanted | {"duplicate": 1, "near duplicate": 1, "not English": 0}


def test_a_word_that_many_texts_have_exists() -> None:
    """Of 1,001 texts two have "relatable" and one has "mislies": one text in 500 is enough, and that is two."""
    said = [
        "A relatable film about the life of a cook.",
        "A relatable film about a man and his dog.",
        "A mislies film.",
    ]
    rows = [{"kind": "review", "text": text} for text in [*said, *[""] * 998]]
    assert filters.kept(rows, [], lambda word: word not in ("relatable", "mislies"))[0] == said[:2]


def test_a_word_that_is_new_has_to_be_common_among_the_earlier_texts_too() -> None:
    """Two of the new texts have "zorble": enough among two texts, and not among 1,502, of which three are needed."""
    texts = ["The dog is a zorble and we all like it.", "My friend saw this zorble in a small town by the sea."]
    rows = [{"kind": "review", "text": text} for text in texts]
    exists = (set(filters.words(" ".join(texts))) - {"zorble"}).__contains__
    assert filters.kept(rows, [], exists)[0] == texts
    earlier = [f"We like film number {i} and the dog in it." for i in range(1500)]
    assert filters.kept(rows, [], exists, earlier)[0] == []
