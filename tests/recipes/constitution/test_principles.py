"""The principles file, and the draw."""

from collections import Counter
from pathlib import Path

import pytest

from burnish.recipes.constitution.principles import Principle, drawn, principles_of
from burnish.run import UserError


def written(folder: Path, text: str) -> Path:
    path = folder / "principles.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text", ["- Be kind.\n- 'Be: true.'\n", "principles:\n  - Be kind.\n  - >\n    Be:\n    true.\n"]
)
def test_a_list_is_read_alone_or_under_its_key(tmp_path: Path, text: str) -> None:
    assert principles_of(written(tmp_path, text)) == (Principle.of("Be kind."), Principle.of("Be: true."))
    assert principles_of(["Be kind."]) == (Principle.of("Be kind."),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "principles.yaml has no principles: write one per line"),
        ("principles:\n", "has no principles"),
        ("[]", "has no principles"),
        ("- a\n-\n", "principle 2, is empty: write it, or remove the line"),
        ("- '  '\n", "principle 1, is empty"),
        ("- 3\n", "principle 1, is of type int, not text"),
        ("- a\n- b\n- 'a '\n", "principle 3, is the same as principle 1"),
        ("Be kind.", "is of type str, not a list"),
        ("rules: [a]\n", "the key 'rules' is unknown"),
        ("- [", "principles.yaml cannot be read"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        principles_of(written(tmp_path, text))


def test_a_principle_has_requests_made_from_it_or_of_its_own(tmp_path: Path) -> None:
    one = Principle.of("Be {kind}.")
    assert one.critique.startswith("Criticize your last answer by this principle: Be {kind}.\n\n")
    assert one.revision.startswith("Write your last answer again")
    text = "- Be kind.\n- critique: What is rude?\n  revision: ' Make it polite. '\n"
    own = Principle("What is rude?", "What is rude?", "Make it polite.")
    assert principles_of(written(tmp_path, text), requests=True) == (Principle.of("Be kind."), own)
    with pytest.raises(UserError, match="principle 2, has requests, which are for --part supervised"):
        principles_of(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- critique: a\n", "principle 1, must have the keys critique and revision, and has critique: correct it"),
        ("- {}\n", "principle 1, must have the keys critique and revision, and has none"),
        ("- {critique: a, revision: b, c: d}\n", "has critique, revision, c"),
        ("- critique: a\n  revision: ' '\n", "principle 1, has no text for revision"),
        ("- critique: 1\n  revision: b\n", "principle 1, has no text for critique"),
        ("- {critique: a, revision: b}\n- {critique: a, revision: b}\n", "principle 2, is the same as principle 1"),
    ],
)
def test_requests_that_are_incomplete_are_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        principles_of(written(tmp_path, text), requests=True)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml cannot be read \(No such file"):
        principles_of(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"- \xff\n")
    with pytest.raises(UserError, match=r"bytes\.yaml cannot be read"):
        principles_of(tmp_path / "bytes.yaml")


def test_the_draw_is_even_and_a_function_of_seed_and_pair() -> None:
    """3,000 draws from 3: each 1,000 ± 5 standard deviations of √(3000 · ⅓ · ⅔) = 26."""
    names = ("a", "b", "c")
    found = [drawn(names, 0, str(i)) for i in range(3000)]
    assert found == [drawn(names, 0, str(i)) for i in range(3000)]
    assert all(abs(count - 1000) < 130 for count in Counter(found).values())
    assert [drawn(names, 1, str(i)) for i in range(50)] != found[:50]
