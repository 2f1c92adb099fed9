"""Which pairs come first by the disagreement of tiny reward models, and that a restart keeps it."""

import json
from pathlib import Path
from typing import Any

import labelling
import numpy as np
import pytest
import tiny
from scipy.special import expit
from tiny_scorers import naive_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from burnish import train
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.config import Settings
from burnish.recipes.label import run as label_run
from burnish.recipes.label import selected
from burnish.recipes.label.pairs import Pair
from burnish.recipes.label.plan import Selection
from burnish.recipes.label.selected import Selecting, disagreements, margins_of, members_of, ranked, selecting
from burnish.recipes.label.session import Session
from burnish.run import UserError

SMALL: dict[str, Any] = {"steps": 3, "batch_size": 4, "learning_rate": 0.01, "quiet": True, "threads": 1}
BASE = Settings(quiet=True, threads=1, device="cpu")
ROWS = [
    {"prompt": "a film", "a": " good", "b": " bad"},
    {"prompt": "the", "a": " very dull", "b": " good"},
    {"prompt": "a film", "a": " is bad", "b": " the"},
    {"prompt": "the film", "a": " dull", "b": " is good"},
]
PAIRS = [Pair(i, **row) for i, row in enumerate(ROWS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three reward models of other seeds, and a policy."""
    folder = tmp_path_factory.mktemp("members")
    tiny.write_rows(folder / "train.jsonl", tiny.pair_rows(9))
    tiny.write_rows(folder / "pairs.jsonl", ROWS)
    model = tiny.save_model(folder / "tiny")
    for seed, name in enumerate("abc"):
        train(RewardModel(), model=model, data=folder / "train.jsonl", out=folder / name, seed=seed, **SMALL)
    train(SFT(), model=model, data=tiny.text_rows(6), out=folder / "policy", **SMALL)
    return folder


def rewards(folder: Path, names: str = "abc") -> tuple[str, ...]:
    return tuple(str(folder / name) for name in names)


def test_a_margin_is_the_models_own_score_of_a_less_that_of_b(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder / "b" / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "b" / "model")
    model.config.pad_token_id = None

    def score(text: str) -> float:
        return naive_score(model, [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]).item()

    expected = [score(pair.prompt + pair.a) - score(pair.prompt + pair.b) for pair in PAIRS]
    np.testing.assert_allclose(margins_of(folder / "b", PAIRS, BASE), expected, atol=1e-5)


def test_the_order_is_by_the_deviation_of_the_predicted_probability(folder: Path) -> None:
    margins = np.stack([margins_of(folder / name, PAIRS, BASE) for name in "abc"])
    p = expit(margins)
    spread = np.sqrt(((p - p.mean(0)) ** 2).mean(0))
    found = disagreements(PAIRS, rewards(folder), BASE)
    np.testing.assert_allclose(found, spread, atol=1e-9)
    assert len({*np.round(spread, 6)}) == len(PAIRS)
    assert ranked(found) == tuple(sorted(range(4), key=lambda pair: -spread[pair]))


def test_equal_pairs_stay_in_order_and_what_cannot_be_read_is_last() -> None:
    assert ranked(np.array([0.1, np.nan, 0.3, 0.1, 0.0, 0.3])) == (2, 5, 0, 3, 4, 1)


def test_a_pair_without_a_token_has_no_disagreement(folder: Path) -> None:
    whole = disagreements(PAIRS, rewards(folder), BASE)
    found = disagreements([Pair(4, "the", "", " good"), *PAIRS], rewards(folder), BASE)
    np.testing.assert_allclose(found, [np.nan, *whole], atol=1e-6)
    assert np.isnan(margins_of(folder / "a", [Pair(4, "the", "", " good")], BASE)).all()


def started(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Session:
    """The session that `burnish label` begins."""
    sessions: list[Session] = []
    monkeypatch.setattr(label_run, "serve", lambda web, session, *others: sessions.append(session))
    known = {"select": "disagreement", "reward": ",".join(rewards(folder)), "raters": ["anna"], "repeat": 0.0}
    label_run.label([str(folder / "pairs.jsonl")], out=out, port=0, base=BASE, **known | options)
    return sessions[0]


def test_a_session_keeps_its_order_when_the_models_are_gone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "labels.jsonl"
    expected = list(ranked(disagreements(PAIRS, rewards(folder), BASE)))
    session = started(folder, out, monkeypatch, random_share=0.0)
    assert [place.pair for place in session.orders["anna"]] == expected
    kept = json.loads((tmp_path / "labels.order.json").read_text())
    assert kept["facts"]["random_share"] == 0.0
    monkeypatch.setattr(selected, "disagreements", lambda *_: pytest.fail("models are read again"))
    moved = (folder / "a").rename(folder / "away")
    try:
        again = started(folder, out, monkeypatch, random_share=0.0)
    finally:
        moved.rename(folder / "a")
    assert again.orders == session.orders


def test_what_a_session_was_begun_with_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "labels.jsonl"
    started(folder, out, monkeypatch)
    with pytest.raises(UserError, match=r"labels\.order\.json has another order, random_share \(was 0\.2, now 0\.5\)"):
        started(folder, out, monkeypatch, random_share=0.5)
    with pytest.raises(UserError, match="has another order, reward"):
        started(folder, out, monkeypatch, reward=",".join(rewards(folder, "ab")))
    with pytest.raises(UserError, match="was begun with --select disagreement: give it again with its --reward"):
        started(folder, out, monkeypatch, select="random", reward=None)
    other = tmp_path / "other.jsonl"
    session = labelling.session(other)
    session.answer(labelling.reply(session.view("anna"), "left", 1))
    session.file.close()
    with pytest.raises(UserError, match="was begun without --select disagreement: leave it out"):
        started(folder, other, monkeypatch)
    assert not (tmp_path / "other.order.json").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reward": None}, "needs at least two reward models, and none is given"),
        ({"reward": "{a}"}, "needs at least two reward models, and 1 is given"),
        ({"reward": "{a},,"}, "needs at least two reward models, and 1 is given"),
        ({"reward": "{a},{a}"}, "/a is given twice: name each reward model once"),
        ({"reward": "{a},{policy}"}, "policy is not a reward model"),
        ({"reward": "{a},nowhere"}, "nowhere has no finished model: give the folders of finished `burnish reward`"),
        ({"select": "random"}, "--reward is for --select disagreement: give that too, or leave it out"),
        (
            {"select": "random", "reward": None, "random_share": 0.2},
            "--random-share is for --select disagreement: give that too",
        ),
        ({"random_share": 1.5}, r"--random-share must lie in \[0, 1\], not 1.5"),
        ({"random_share": float("nan")}, r"--random-share must lie in \[0, 1\], not nan"),
        ({"select": "best"}, "--select must be random or disagreement, not best"),
    ],
)
def test_a_mistake_is_a_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    names = {name: folder / name for name in ("a", "policy")}
    whole = {key: v.format(**names) if isinstance(v, str) else v for key, v in given.items()}
    with pytest.raises(UserError, match=said):
        started(folder, tmp_path / "labels.jsonl", monkeypatch, **whole)
    assert not list(tmp_path.iterdir())


def test_the_share_is_said_on_start(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    selector = selecting("disagreement", [*rewards(folder, "ab")], None, tmp_path / "labels.jsonl")
    assert selector == Selecting(rewards(folder, "ab"), 0.2)
    spread = np.array([0.1, np.nan, 0.3, 0.2])
    assert selector.described(spread) == (
        "--select disagreement of 2 reward models; --random-share 0.2 of the pairs are in random order; the standard "
        "deviation of the predicted probability is 0.300 at most, 0.200 in the median; 1 pairs that they cannot read "
        "come last"
    )
    found = selector.selection(PAIRS, tmp_path / "labels.jsonl", Settings(threads=1, device="cpu"))
    assert found == Selection(ranked(disagreements(PAIRS, rewards(folder, "ab"), BASE)), 0.2)
    assert "--random-share 0.2 of the pairs are in random order" in capsys.readouterr().err


def test_reward_models_are_a_text_or_a_list() -> None:
    assert members_of("a, b,c") == members_of([Path("a"), "b", "c"]) == ("a", "b", "c")
