"""YAML from somebody else: anything that is not valid is a ValueError of one line, and nothing runs away."""

import pytest

from burnish.run.plain_yaml import PlainLoader, read_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


def test_plain_values_and_flat_aliases_are_read() -> None:
    assert read_yaml("a: &x 1e-3\nb: *x\nc: &y [1, two]\nd: *y\n") == {
        "a": "1e-3",
        "b": "1e-3",
        "c": [1, "two"],
        "d": [1, "two"],
    }
    assert read_yaml("base: &base {a: 1}\nmore:\n  <<: *base\n  b: 2\n")["more"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "expected ',' or ']'"),
        ("a: !!int x", "invalid literal for int"),
        ("a: !!timestamp x", "NoneType"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("[" * 5000, "maximum recursion depth"),
        ("a: \x00", "special characters are not allowed"),
        ("? [1]: 2", "unhashable key"),
        (BOMB, r"the alias \*a1 names a nested list or mapping"),
        ("a: &a [*a]", r"the alias \*a names a nested list or mapping"),
        ("a: *b", "undefined alias"),
    ],
)  # fmt: skip
def test_anything_else_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_yaml(text)
    assert "\n" not in str(error.value)


def test_a_loader_of_ones_own_is_used() -> None:
    class Words(PlainLoader):
        yaml_implicit_resolvers: dict = {}  # noqa: RUF012

    assert read_yaml("a: 1", Words) == {"a": "1"}
