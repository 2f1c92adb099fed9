"""Rows of tasks: what is held out, what a seed gives, what is refused."""

from itertools import islice

import pytest

from burnish.data import sources
from burnish.data.columns import column
from burnish.data.tasks.own import TASKS
from burnish.data.tasks.stream import is_answer, is_held_out
from burnish.run import BurnishWarning, UserError


def prompts(name: str) -> list[str]:
    return column(sources.load(name), "prompt")


def test_a_row_has_prompt_answer_task_and_difficulty() -> None:
    dataset = sources.load("task:reverse:rows=3,letters=4,least=4")
    assert dataset.column_names == ["prompt", "completion", "answer", "task", "difficulty", "metadata"]
    row = dataset[0]
    assert row["prompt"] == f"reverse {' '.join(row['answer'].split()[::-1])} ->"
    assert (row["completion"], row["task"], row["difficulty"]) == (f" {row['answer']}", "reverse", 4)
    assert column(dataset, "metadata")[0] == {"word": "".join(row["answer"].split()[::-1])}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_no_held_out_prompt_is_ever_trained_on(name: str) -> None:
    held = prompts(f"task:{name}:held_out=40:held_out")
    for seed in (0, 1):
        trained = prompts(f"task:{name}:rows=2000,seed={seed}")
        assert not set(trained) & set(held)
        assert not any(map(is_held_out, trained))
    assert len(set(held)) == len(held)
    assert all(map(is_held_out, held))


def test_one_prompt_in_ten_is_held_out() -> None:
    share = sum(is_held_out(f"prompt {i}") for i in range(10_000)) / 10_000
    assert share == pytest.approx(0.1, abs=0.012)  # four deviations of a binomial


def test_rows_are_a_function_of_seed_and_number() -> None:
    some = prompts("task:sort:rows=50")
    assert prompts("task:sort:rows=120")[:50] == some
    assert prompts("task:sort:seed=0,rows=50") == some != prompts("task:sort:seed=1,rows=50")
    assert len(prompts("task:sort")) == 10_000
    assert column(sources.load("task:sort", row_limit=7), "prompt") == some[:7]


def test_a_small_task_ends_where_all_its_held_out_prompts_are_found() -> None:
    whole = [f"{a} {s} {b} =" for a in range(10) for b in range(10) for s in "+-"]
    held = prompts("task:chain_sum:terms=2:held_out")
    assert sorted(held) == sorted(one for one in whole if is_held_out(one))
    with pytest.warns(BurnishWarning, match=f"there are only {len(held)} different held-out prompts"):
        prompts("task:chain_sum:terms=2,held_out=100:held_out")


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_prompts_can_be_messages(split: str) -> None:
    plain, chat = (sources.load(f"task:reverse:rows=3,held_out=3{option}:{split}") for option in ("", ",chat=true"))
    assert column(chat, "prompt") == [[{"role": "user", "content": text}] for text in plain["prompt"]]
    said = [[{"role": "assistant", "content": text.removeprefix(" ")}] for text in plain["completion"]]
    assert column(chat, "completion") == said
    assert chat["answer"] == plain["answer"]
    assert plain["prompt"] == sources.load(f"task:reverse:rows=3,held_out=3,chat=false:{split}")["prompt"]


def test_mixtures_of_tasks_have_weights(tmp_path: object) -> None:
    from burnish.data.names import held_out_tasks, parts

    text = "task:sort:rows=9,digits=2:0.7,task:reverse:0.3"
    one, other = parts(text)
    assert (one.name, one.weight, other.weight) == ("task:sort:rows=9,digits=2", 0.7, 0.3)
    assert one.is_task
    assert held_out_tasks(text) == "task:sort:rows=9,digits=2:held_out,task:reverse:held_out"
    assert held_out_tasks("task:sort:train,a.jsonl") is None
    assert held_out_tasks("task:sort:train") == "task:sort:train"
    assert len(list(islice(iter(prompts("task:sort:rows=9,digits=2")), 20))) == 9


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("task:revers", "Burnish has no task 'revers'; did you mean reverse?"),
        ("task:zzz", "Burnish has no task 'zzz'; it has brackets, chain_sum"),
        ("task", "names no task: write task:NAME; the tasks are brackets"),
        ("task:reverse:leters=2", "the task reverse has no option leters; did you mean letters?"),
        ("task:reverse:size=3", "the task reverse has no option size"),
        ("task:reverse:rows=0", "rows must be a whole number of at least 1, not '0'"),
        ("task:reverse:chat=yes", "chat must be true or false, not 'yes'"),
        ("task:reverse:rows=2,rows=3", "an option is given twice"),
        ("task:reverse:rows=2:seed=3", "write the options of a task as in task:reverse:rows=200,seed=1"),
        ("task:reverse:foo", "has no split 'foo'; it has train and held_out"),
    ],
)
def test_what_is_no_task_is_refused(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        sources.load(name)


def test_an_answer_is_right_whatever_its_white_space() -> None:
    assert is_answer(" 1  2\n3", "1 2 3")
    assert not is_answer("1 2 3 4", "1 2 3")
    assert not is_answer("123", "1 2 3")
