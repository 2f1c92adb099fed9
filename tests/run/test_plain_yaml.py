"""YAML comes back as it was; of somebody else's, what is not valid is a ValueError of one line, and none runs away."""

import hypothesis
import pytest
import yaml
from hypothesis import strategies

from burnish.run import plain_yaml
from burnish.run.plain_yaml import PlainLoader, read_yaml, write_yaml

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


@pytest.mark.parametrize("dumper", [plain_yaml.DUMPER, yaml.SafeDumper])
@hypothesis.given(
    text=strategies.text(strategies.characters(exclude_characters="\x85\u2028\u2029"))
    | strategies.text("a b: '\"\\\n#"),
    number=strategies.floats(allow_nan=False) | strategies.integers(),
)
def test_what_is_written_is_what_is_read(dumper: type, text: str, number: float) -> None:
    """With libyaml and without it; also a file's name that is no UTF-8, which Python has with surrogates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_yaml, "DUMPER", dumper)
        value = {"b": text, "a": [number, None, True], "name": f"{text}\udcff", "long": f"{text} " * 40, "none": {}}
        written = write_yaml(value)
        assert read_yaml(written) == value
        assert written.startswith("b:")


def test_letters_are_written_as_they_are() -> None:
    assert write_yaml({"say": "über", "steps": 3}) == "say: über\nsteps: 3\n"
