"""The principles file, and the draw."""

from collections import Counter
from pathlib import Path

import pytest

from burnish.recipes.constitution.principles import drawn, principles_in
from burnish.run import UserError


def written(folder: Path, text: str) -> Path:
    path = folder / "principles.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text", ["- Be kind.\n- 'Be: true.'\n", "principles:\n  - Be kind.\n  - >\n    Be:\n    true.\n"]
)
def test_a_list_is_read_alone_or_under_its_key(tmp_path: Path, text: str) -> None:
    assert principles_in(written(tmp_path, text)) == ("Be kind.", "Be: true.")


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
        principles_in(written(tmp_path, text))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml cannot be read \(No such file"):
        principles_in(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"- \xff\n")
    with pytest.raises(UserError, match=r"bytes\.yaml cannot be read"):
        principles_in(tmp_path / "bytes.yaml")


def test_the_draw_is_even_and_a_function_of_seed_and_pair() -> None:
    """3,000 draws from 3: each 1,000 ± 5 standard deviations of √(3000 · ⅓ · ⅔) = 26."""
    names = ("a", "b", "c")
    found = [drawn(names, 0, str(i)) for i in range(3000)]
    assert found == [drawn(names, 0, str(i)) for i in range(3000)]
    assert all(abs(count - 1000) < 130 for count in Counter(found).values())
    assert [drawn(names, 1, str(i)) for i in range(50)] != found[:50]
