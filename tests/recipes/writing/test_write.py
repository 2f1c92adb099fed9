"""Shards are complete or absent, the same bytes however often the writer is killed, and never of two recipes."""

import fcntl
import json
from pathlib import Path

import pytest
import tiny
from data.tokenizers_on_the_spot import CHATML, make

from burnish.cache import cache_folder
from burnish.config import Settings
from burnish.data import corpora
from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.writing.prompts import prompt
from burnish.recipes.writing.write import Form, Writing, answers, check_recipe, claimed, shards, write
from burnish.run import UserError, read_jsonl

SMALL = Writing(shard=2, rows_at_once=2)
QUIET = Settings(quiet=True, threads=1)


def writer() -> LanguagePolicy:
    """A random model of bytes with a chat template."""
    tokenizer = make(template=CHATML)
    model = tiny.make_model("llama", vocab_size=len(tokenizer), max_position_embeddings=512)
    return LanguagePolicy(model, tokenizer)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not (cache_folder() / corpora.SOURCE.name).exists():
        pytest.skip("the built-in data is not in the cache folder")
    folder = tmp_path_factory.mktemp("writer")
    writer().save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def whole(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("out") / "text", 3, SMALL, QUIET, model)


def test_texts_are_rounded_up_to_whole_shards(whole: Path) -> None:
    assert [path.name for path in shards(whole)] == ["shard-00000.jsonl", "shard-00001.jsonl"]
    rows = [row for path in shards(whole) for row in read_jsonl(path)]
    assert [row["number"] for row in rows] == [0, 1, 2, 3]
    assert all(row["text"].startswith(row["opening"]) and row["nats"] > 0 for row in rows)
    assert not list(whole.glob("*.lock"))


def test_a_killed_writer_leaves_the_same_bytes_as_one_that_was_not(whole: Path, model: str, tmp_path: Path) -> None:
    """What a kill leaves: the shards before, a lock that nobody holds, and half a file of another name."""
    write(tmp_path / "text", 2, SMALL, QUIET, model)
    (tmp_path / "text" / "shard-00001.lock").touch()
    (tmp_path / "text" / ".burnish-new-shard-00001.jsonl-1").write_text('{"number"')
    write(tmp_path / "text", 4, SMALL, QUIET, model)
    for path in shards(whole):
        assert (tmp_path / "text" / path.name).read_bytes() == path.read_bytes()


def test_a_shard_that_another_process_writes_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.jsonl"
    with path.with_suffix(".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with claimed(path) as mine:
            assert not mine
    with claimed(path) as mine:
        assert mine
    path.touch()
    with claimed(path) as mine:
        assert not mine


def test_an_answer_ends_where_its_form_says(model: str) -> None:
    """What follows the stop is not there; an answer without it has as many tokens as the form allows."""
    policy = writer()
    prompts = [prompt(0, number, ["A film"]) for number in range(4)]
    free = list(answers(policy, prompts, Form(24, None), SMALL, 0))
    letter = next(text[8] for text, _, _ in free if len(text) > 8)
    for (text, ended, nats), (whole, _, _) in zip(
        answers(policy, prompts, Form(24, letter), SMALL, 0), free, strict=True
    ):
        assert text == whole.partition(letter)[0]
        assert ended or letter not in whole
        assert nats > 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"seed": 1, "shard": 2}', r"another seed \(1, now 0\): choose another --out"),
        ("no", "recipe.json"),
    ],
)
def test_a_folder_of_another_recipe_is_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(UserError, match=said):
        check_recipe(tmp_path, {"seed": 0, "shard": 2})
    assert (tmp_path / "recipe.json").read_text() == content


def test_the_recipe_is_noted_once(tmp_path: Path) -> None:
    check_recipe(tmp_path, {"seed": 0})
    check_recipe(tmp_path, {"seed": 0})
    assert json.loads((tmp_path / "recipe.json").read_text()) == {"seed": 0}


def test_shards_that_ship_are_not_written_again(tmp_path: Path) -> None:
    """Eight shards of the recipe ship: nothing is left of 4,096 texts, and SmolLM2 is not even loaded."""
    write(tmp_path / "text", 4096, Writing(), QUIET)
    assert [path.name for path in (tmp_path / "text").iterdir()] == ["recipe.json"]


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no shard-00000\.jsonl and no other shard"):
        shards(tmp_path)
