"""How a model is taught: its tokenizer, and when its lessons end."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from burnish.data import sources
from burnish.recipes.study.checked import pupil
from burnish.recipes.study.checked.graded import Exam
from burnish.recipes.study.checked.plan import TASKS
from burnish.recipes.study.checked.pupil import Lessons, born, taught, tokenizer
from burnish.run import UserError

from .worlds import SHAPE

EXAM = Exam(("sort 2 1 ->",), ("1 2",), 4)


@pytest.mark.parametrize("name", TASKS)
def test_every_character_of_every_task_is_a_token(name: str) -> None:
    known = tokenizer()
    for row in sources.load(f"{TASKS[name].name},rows=40"):
        text = row["prompt"] + row["completion"]
        ids = known(text)["input_ids"]
        assert known.unk_token_id not in ids
        assert (known.decode(ids), len(ids)) == (text, len(text))
        assert len(row["completion"]) + 1 <= TASKS[name].tokens


def test_a_model_is_a_function_of_its_seed_and_loads_with_its_tokenizer(tmp_path: Path) -> None:
    weights = [
        (born(tmp_path / str(i), SHAPE, seed) / "model.safetensors").read_bytes() for i, seed in enumerate((0, 0, 1))
    ]
    assert weights[0] == weights[1] != weights[2]
    assert AutoTokenizer.from_pretrained(tmp_path / "0").decode([5, 6]) == "bc"


def test_a_piece_after_which_too_much_is_right_is_done_again_with_half_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of 4 steps: 10 %, then 90 % (done again with 2), 15 %, and 30 %, which is enough: 4 + 2 + 2 updates."""
    shares = iter((0.1, 0.9, 0.15, 0.3))
    monkeypatch.setattr(pupil, "graded", lambda *_: type("Found", (), {"accuracy": next(shares)}))
    lessons = Lessons(steps=4, batch_size=2)
    run, updates = taught("task:sort", 8, tmp_path, SHAPE, lessons, EXAM, 0)
    assert (run.name, updates) == ("sft-8", 8)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["born", "sft-4", "sft-6", "sft-8"]


def test_a_task_that_is_not_learned_is_an_error_that_names_it(tmp_path: Path) -> None:
    lessons = Lessons(steps=1, most_steps=1, batch_size=2, least=0.9, most=0.95)
    with pytest.raises(UserError, match=r"task:sort \(seed 5\) is not learned .* between 90% and 95% in 1 updates"):
        taught("task:sort", 8, tmp_path, SHAPE, lessons, EXAM, 5)
