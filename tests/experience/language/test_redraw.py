"""Dynamic sampling: which groups stay, how many are drawn, and that parts of different widths become one batch."""

from typing import Any

import pytest
import tiny
import torch
from loop_pieces import prompts_of

from burnish.experience.language.redraw import equal, joined, of_groups, with_signal
from burnish.experience.language.sampling import Scored, completed_rows
from burnish.policies.interface import Sampled

POLICY = tiny.make_policy(double=False)
PROMPTS = prompts_of(POLICY, tiny.prompt_rows(30))


def groups(first: int, scores: list[list[float]], length: int = 2) -> Scored:
    """Groups of two for the prompts from `first` on; every completion is `length` words."""
    which = [first + i for i in range(len(scores)) for _ in range(2)]
    numbers = torch.tensor(scores, dtype=torch.float64).flatten()
    sampled = Sampled([[3 + i % 9] * length for i in which], [[-1.0] * length for _ in which], [False] * len(which))
    return Scored(completed_rows(POLICY, PROMPTS, which, sampled), sampled, numbers, numbers)


def test_equal_groups_are_replaced_until_none_is_left() -> None:
    """Of three two are equal; of two more one; the last draw is of one: six groups are drawn for three."""
    draws = iter([[[0, 1], [1, 1], [0, 0]], [[2, 2], [0, 3]], [[4, 0]]])
    asked = []

    def ask(drawn: int, want: int) -> Scored:
        asked.append((drawn, want))
        return groups(drawn, next(draws), length=1 + drawn)

    found, metrics = with_signal(ask, 3, 2, redraws=10)
    assert asked == [(0, 3), (3, 2), (5, 1)]
    assert found.scores.tolist() == [0, 1, 0, 3, 4, 0]
    assert found.completed.rows == [0, 0, 4, 4, 5, 5]
    assert metrics == {
        "objective/groups_drawn": 6.0,
        "objective/groups_dropped": 3.0,
        "objective/draws": 3.0,
        "objective/scores_drawn": (1 + 2 + 4 + 3 + 4) / 12,
    }
    batch = found.completed.batch
    assert batch.mask.sum(1).tolist() == [1, 1, 4, 4, 6, 6]
    for row, i in enumerate(found.completed.rows):  # the ids of its prompt and the completion, padded
        ids = PROMPTS.ids[i] + found.sampled.tokens[row]
        assert batch.tokens[row, : batch.lengths[row]].tolist() == ids
        assert batch.mask[row, len(ids) :].sum() == 0
    assert found.completed.columns["number"] == found.completed.rows


def test_at_the_limit_what_was_drawn_last_stays() -> None:
    """A rollout has always as many groups, so that a run has as many updates."""
    found, metrics = with_signal(lambda drawn, want: groups(drawn, [[1, 1]] * want), 2, 2, redraws=3)
    assert len(found.scores) == 4
    assert found.completed.rows == [6, 6, 7, 7]
    assert (metrics["objective/groups_drawn"], metrics["objective/draws"]) == (8, 4)


def test_no_draw_is_wasted() -> None:
    found, metrics = with_signal(lambda drawn, want: groups(drawn, [[0, 1]] * want), 2, 2, redraws=3)
    assert (metrics["objective/groups_dropped"], metrics["objective/draws"]) == (0, 1)
    assert found.scores.tolist() == [0, 1, 0, 1]


def test_equal_means_all_of_them() -> None:
    assert equal(torch.tensor([[1.0, 1, 1], [1, 1, 2], [2, 1, 1]])).tolist() == [True, False, False]


@pytest.mark.parametrize("wanted", [[True, False], [False, True], [True, True]])
def test_groups_are_selected_in_every_part(wanted: list[bool]) -> None:
    whole = groups(4, [[0, 1], [2, 3]])
    part: Any = of_groups(whole, torch.tensor(wanted), 2)
    rows = [i for i in range(4) if wanted[i // 2]]
    assert part.scores.tolist() == part.counted.tolist() == [float(i) for i in rows]
    assert part.completed.responses == [whole.completed.responses[i] for i in rows]
    assert part.sampled.tokens == [whole.sampled.tokens[i] for i in rows]
    assert torch.equal(part.completed.batch.tokens, whole.completed.batch.tokens[rows])
    assert joined([part]) is part
