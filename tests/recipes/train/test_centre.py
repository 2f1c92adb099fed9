"""The zero of a reward model's scores, against the scores of the chosen responses, one text at a time."""

from pathlib import Path

import pytest
import tiny
import torch
from tiny_scorers import make_scorer, naive_score

from burnish.algorithms.reward_model import RewardModel
from burnish.config import Settings
from burnish.recipes.train.centre import centre
from burnish.recipes.train.rows import tokenised


def test_chosen_responses_score_0_on_average(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scorer = make_scorer()
    pairs = [{"prompt": f"{i} ab", "chosen": " c" * (i + 1) + " e", "rejected": " dd"} for i in range(5)]
    tiny.write_rows(tmp_path / "pairs.jsonl", pairs)
    settings = Settings(data=str(tmp_path / "pairs.jsonl"), max_length=40)
    rows = tokenised(RewardModel(), settings, scorer, settings.data, "train")
    batch = rows.batch(range(5))
    chosen = [batch.tokens[i, 0][: int(batch.lengths[i, 0])].tolist() for i in range(5)]
    with torch.no_grad():
        mean = sum(float(naive_score(scorer.model, ids)) for ids in chosen) / 5
    centre(scorer, rows, settings)
    assert scorer.offset == pytest.approx(mean, abs=1e-12)
    assert f"scores are centred on the chosen responses, which scored {mean:.3f} on average" in capsys.readouterr().err
