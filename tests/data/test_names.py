"""Names of data: configurations, splits, mixtures with weights; files whose names hold commas and colons."""

from pathlib import Path

import pytest

from burnish.data.names import Part, joined, parts, single, split
from burnish.run import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jsonl", Part("a.jsonl", "a.jsonl")),
        ("owner/name:test", Part("owner/name:test", "owner/name", ("test",))),
        ("owner/name:math:test", Part("owner/name:math:test", "owner/name", ("math", "test"))),
        ("owner/name:2024", Part("owner/name:2024", "owner/name", ("2024",))),
    ],
)
def test_one_data_set(text: str, expected: Part) -> None:
    assert parts(text) == (expected,)
    assert single(text) == expected


def test_a_mixture_has_weights_after_the_last_colon() -> None:
    assert parts("a.jsonl:0.7, owner/name:test:.3,owner/name:math:test:2e0") == (
        Part("a.jsonl", "a.jsonl", (), 0.7),
        Part("owner/name:test", "owner/name", ("test",), 0.3),
        Part("owner/name:math:test", "owner/name", ("math", "test"), 2.0),
    )
    assert [part.weight for part in parts("a.jsonl,owner/name:test")] == [None, None]
    with pytest.raises(
        UserError, match=r"a\.jsonl,b\.jsonl is a mixture of 2 data sets, but only one can be read here"
    ):
        single("a.jsonl,b.jsonl")


def test_a_path_that_exists_has_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.jsonl", "c", "c:0.5", "d,e:f,g.jsonl", "h"):
        Path(name).touch()
    assert single("a,b.jsonl").base == "a,b.jsonl"
    assert single("c:0.5") == Part("c:0.5", "c:0.5")
    assert single("c:test") == Part("c:test", "c", ("test",))
    assert parts("a,b.jsonl:0.7,c:0.5:0.3") == (
        Part("a,b.jsonl", "a,b.jsonl", (), 0.7),
        Part("c:0.5", "c:0.5", (), 0.3),
    )
    assert [part.base for part in parts("x,d,e:f,g.jsonl,a,b.jsonl,h")] == ["x", "d,e:f,g.jsonl", "a,b.jsonl", "h"]
    assert split("h:0.7,x:0.3") == ["h:0.7", "x:0.3"]  # "h" exists, but "0.7,x:0.3" is not its split


def test_a_list_of_names_is_the_same_as_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert joined(["a:0.7", Path("b"), "c,d"]) == "a:0.7,b,c,d"
    Path("a,b").touch()
    assert joined(["a,b", "c"]) == "a,b,c"
    with pytest.raises(UserError, match="a,b is also the name of one file"):
        joined(["a", "b"])
    with pytest.raises(UserError, match="data is an empty list"):
        joined([])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,,b", "data 'a,,b' has an empty part"),
        ("a,", "data 'a,' has an empty part"),
        ("a:1,b", "a:1,b: b has no weight, but other parts have one"),
        ("a:0,b:1", "a:0: the weight must be a number above 0"),
        ("a:-1,b:1", "a:-1: the weight must be a number above 0"),
        ("a:1e999,b:1", "a:1e999: the weight must be a number above 0"),
        ("https://me:pw@host/a.jsonl?key=b", "https://host/a.jsonl is an address; download it and name the file"),
        ("owner/name:", "owner/name:: nothing follows a colon"),
    ],
)
def test_one_sentence_for_each_mistake(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parts(text)
    assert str(caught.value).startswith(sentence)
