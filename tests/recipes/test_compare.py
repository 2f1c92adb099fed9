"""Two tiny models side by side: their answers drawn again by hand, judged by a reward, a function and a server."""

import json
from pathlib import Path
from typing import Any

import judge_servers
import labelling
import numpy as np
import pytest
import tiny
import tiny_scorers
import torch

from burnish.cli import main
from burnish.config import Settings
from burnish.data import builtin
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import sample
from burnish.recipes.compare import ancestors, began_as, compare, print_comparison
from burnish.recipes.demo.measure import gold_judge
from burnish.recipes.label.session import Session
from burnish.run import UserError

BASE = Settings(seed=3, threads=1, quiet=True, device="cpu", max_length=40)
ROWS = [{"prompt": "a film"}, {"prompt": "the"}, {"prompt": "very dull"}, {"prompt": "and but"}]
PROMPTS = [[tiny.BOS, 7, 5], [tiny.BOS, 8], [tiny.BOS, 11, 15], [tiny.BOS, 13, 14]]
SHORT: dict[str, Any] = {"max_new_tokens": 8, "base": BASE}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return tiny.save_model(folder / "one", seed=1), tiny.save_model(folder / "two", seed=2)


def by_hand(model: Path, **options: Any) -> list[str]:
    """Each prompt's answer, drawn alone from its own stream."""
    policy = load_policy(model)
    drawn = [
        sample(policy, [ids], seed=3, max_new_tokens=8, streams=[i], **options).tokens[0]
        for i, ids in enumerate(PROMPTS)
    ]
    return policy.tokenizer.batch_decode(drawn, skip_special_tokens=True)


def save_scorer(folder: Path, seed: int = 0) -> Path:
    tiny_scorers.make_scorer(seed=seed, double=False).save(folder)
    return folder


def longer(prompts: list[str], a: list[str], b: list[str]) -> list[int]:
    return [len(x) - len(y) for x, y in zip(a, b, strict=True)]


def test_the_same_prompts_and_streams_and_a_judge(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("burnish.recipes.answers.ROWS_AT_ONCE", 3)  # and one row after these
    out = tmp_path / "new" / "out"
    found = compare(*models, ROWS, longer, out=out, command="burnish compare", **SHORT)
    a, b = by_hand(models[0]), by_hand(models[1])
    assert [(row["prompt"], row["a"], row["b"]) for row in found.rows] == [
        (one["prompt"], x, y) for one, x, y in zip(ROWS, a, b, strict=True)
    ]
    leads = longer([], a, b)
    assert [row["winner"] for row in found.rows] == ["A" if x > 0 else "B" if x < 0 else "tie" for x in leads]
    assert len(set(leads)) > 2  # else the test would not tell
    assert found.found["win_rate"]["mean"] == np.mean([(np.sign(x) + 1) / 2 for x in leads])
    assert found.found["names"] == ["one", "two"]
    assert found.found["judge"] == "longer"
    assert "position_bias" not in found.found
    assert json.loads((out / "compare.json").read_text()) == found.found
    assert [json.loads(line) for line in (out / "compare.jsonl").read_text().splitlines()] == found.rows
    assert "burnish compare" in (out / "compare.html").read_text()


def test_a_failed_write_does_not_block_the_next_try(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise UserError("compare.html cannot be written (No space left on device)")

    with monkeypatch.context() as patched:
        patched.setattr("burnish.report.language.compare.compare_page", full)
        with pytest.raises(UserError, match="No space left"):
            compare(*models, ROWS, longer, out=tmp_path / "new" / "out", **SHORT)
    assert list(tmp_path.iterdir()) == []
    compare(*models, ROWS, longer, out=tmp_path / "new" / "out", **SHORT)
    assert len(list((tmp_path / "new" / "out").iterdir())) == 3


def test_statistics_stand_beside(models: tuple[Path, Path]) -> None:
    found = compare(*models, ROWS, longer, **SHORT).found
    for model, told in zip(models, found["statistics"], strict=True):
        texts = by_hand(model)
        assert told["texts"] == 4
        assert told["words"] == pytest.approx(np.mean([len(text.split()) for text in texts]))


def test_a_model_beside_itself_ties_with_itself(models: tuple[Path, Path]) -> None:
    found = compare(models[0], models[0], ROWS, longer, **SHORT).found
    assert found["names"] == ["one", "one (2)"]
    assert found["verdicts"] == {"pairs": 4, "A": 0, "B": 0, "ties": 4, "unjudged": 0, "orders_disagree": 0}
    assert found["win_rate"] == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert found["same_text"] == 4
    assert found["warnings"] == compare(models[0], models[0], ROWS, longer, **SHORT).found["warnings"]


def test_fewer_prompts_and_another_seed(models: tuple[Path, Path]) -> None:
    whole = compare(*models, ROWS, longer, **SHORT).rows
    assert compare(*models, ROWS, longer, 2, **SHORT).rows == whole[:2]
    other = Settings(seed=4, threads=1, quiet=True, device="cpu", max_length=40)
    assert [row["a"] for row in compare(*models, ROWS, longer, max_new_tokens=8, base=other).rows] != [
        row["a"] for row in whole
    ]
    cold = compare(*models, ROWS, longer, temperature=0.1, **SHORT).rows
    assert [row["a"] for row in cold] == by_hand(models[0], temperature=0.1)


def test_a_reward_model_judges_by_score(models: tuple[Path, Path], tmp_path: Path) -> None:
    scorer = save_scorer(tmp_path / "scorer", seed=5)
    found = compare(*models, ROWS, str(scorer), **SHORT)
    from burnish.policies.language.scorer import load_scorer

    loaded = load_scorer(str(scorer))
    loaded.dropout(False)
    for i, row in enumerate(found.rows):
        for model, score in zip(models, row["scores"], strict=True):
            ids = PROMPTS[i] + sample(load_policy(model), [PROMPTS[i]], seed=3, max_new_tokens=8, streams=[i]).tokens[0]
            with torch.no_grad():
                alone = loaded.scores(tiny.demonstrations([(ids, [False] * (len(ids) - 1) + [True])]))
            assert score == pytest.approx(float(alone[0]), abs=1e-4)
        assert row["winner"] == ("A" if row["scores"][0] > row["scores"][1] else "B")
    difference = np.mean([row["scores"][0] - row["scores"][1] for row in found.rows])
    assert found.found["score_difference"]["mean"] == pytest.approx(difference, abs=1e-5)


def test_gold_judges_built_in_prefixes_by_itself() -> None:
    found = compare("builtin", "builtin", prompts=3, max_new_tokens=4, base=BASE)
    assert found.found["judge"] == "gold"
    assert [row["prompt"] for row in found.rows] == builtin.prefixes("held_out", 3)["prompt"][:]
    texts = [row["prompt"] + row["a"] for row in found.rows]
    assert [row["scores"][0] for row in found.rows] == pytest.approx(list(gold_judge().score(texts)), abs=1e-6)


def test_a_server_judges_and_what_it_cannot_is_marked(models: tuple[Path, Path], tmp_path: Path) -> None:
    def rule(seen: judge_servers.Seen) -> str:
        return "hm" if "a film" in seen.body["messages"][1]["content"] else judge_servers.longer(seen)

    with judge_servers.judge_server(rule) as log:
        found = compare(*models, ROWS, log.url, out=tmp_path / "out", **SHORT)
    leads = longer([], by_hand(models[0]), by_hand(models[1]))
    expected = [None, *("A" if x > 0 else "B" if x < 0 else "tie" for x in leads[1:])]
    assert [row["winner"] for row in found.rows] == expected
    assert found.rows[0]["problem"] == "no verdict: 'hm'"
    assert found.found["verdicts"]["unjudged"] == 1
    assert found.found["position_bias"]["mean"] == 0.5
    assert "unjudged and left out: 1" in (tmp_path / "out" / "compare.html").read_text()


def test_people_give_a_win_rate_with_its_interval(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people prefer the longer answer, but Ben calls the second pair a tie: the votes of both still prefer it."""

    def label(web: Any, session: Session, *_: Any) -> None:
        for rater in ("anna", "ben"):
            view = session.view(rater)
            while not view["finished"]:
                left, right = (len(view[side][0]["text"]) for side in ("left", "right"))
                verdict = "left" if left > right else "right" if right > left else "tie"
                verdict = "tie" if rater == "ben" and view["prompt"][0]["text"] == ROWS[1]["prompt"] else verdict
                view = session.answer(labelling.reply(view, verdict, len(session.file.records)))

    monkeypatch.setattr("burnish.recipes.label.judge.serve", label)
    found = compare(*models, ROWS, "people", out=tmp_path / "out", raters=("anna", "ben"), port=0, **SHORT)
    leads = longer([], by_hand(models[0]), by_hand(models[1]))
    assert [row["winner"] for row in found.rows] == ["A" if x > 0 else "B" if x < 0 else "tie" for x in leads]
    rate = found.found["win_rate"]
    assert rate["mean"] == np.mean([(np.sign(x) + 1) / 2 for x in leads])
    assert 0 <= rate["low"] < rate["mean"] < rate["high"] <= 1
    assert found.found["judge"] == "people"
    assert f"{100 * rate['mean']:.1f}" in (tmp_path / "out" / "compare.html").read_text()
    assert len((tmp_path / "out" / "labels.jsonl").read_text().splitlines()) == 2 * len(ROWS)


@pytest.mark.parametrize("keep", [False, True])
def test_special_tokens_of_the_template_are_kept_when_asked(
    keep: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The template writes "a" before each answer, and ends it with "plot"; the second model's has no special word."""
    one, two = tiny.save_model(tmp_path / "one", seed=1), tiny.save_model(tmp_path / "two", seed=2)
    tiny.make_chat_tokenizer("a").save_pretrained(one)
    rows = tiny.write_rows(tmp_path / "rows.jsonl", [{"prompt": "the"}] * 24)
    arguments = ["compare", one, two, "--data", rows, "--out", tmp_path / "out", "--max-new-tokens", 8, "--seed", 0]
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*map(str, arguments), "--device", "cpu", *(["--keep-special-tokens"] if keep else [])])
    policy = load_policy(one)
    drawn = sample(policy, [[tiny.BOS, 8]] * 24, seed=0, max_new_tokens=8).tokens
    assert any(7 in row for row in drawn)
    left_out = {1, 6} if keep else {0, 1, 2, 6, 7}  # the ends alone, or BOS, UNK and "a" too
    every = ("<s>", "</s>", "<unk>", *tiny.WORDS)
    found = [json.loads(line)["a"].split() for line in (tmp_path / "out" / "compare.jsonl").read_text().splitlines()]
    assert found == [[every[token] for token in row if token not in left_out] for row in drawn]
    assert capsys.readouterr().err.count("warning: answers of one contain a, ") == (not keep)


def test_without_a_judge_there_is_no_winner(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(*models, ROWS, **SHORT)
    assert found.found["judge"] is None
    assert "winner" not in found.rows[0]
    print_comparison(found, shown=2)
    printed = capsys.readouterr().out
    assert "There is no judge" in printed
    assert "very dull" not in printed  # two pairs are shown


def test_the_terminal_shows_pairs_numbers_and_warnings(
    models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = load_policy(models[0])
    silent.model.transformer.ln_f.weight.data.zero_()
    silent.model.transformer.ln_f.bias.data = 50 * silent.model.transformer.wte.weight.data[tiny.EOS]
    silent.save(tmp_path / "silent")
    found = compare(tmp_path / "silent", models[1], ROWS, longer, **SHORT)
    print_comparison(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "silent may have collapsed: 100 % of its texts are nearly the same whatever the prompt" in printed
    assert "warning:" in printed
    other_way = compare(models[1], tmp_path / "silent", ROWS, longer, **SHORT).found["warnings"]
    assert "silent may have collapsed: 100 % of its texts are nearly the same whatever the prompt" in other_way
    silent_too = sum(not row["b"] for row in found.rows)
    assert silent_too < 4
    assert f"silent wins {100 * silent_too / 2 / 4:.1f} % of 4 pairs" in printed
    assert "very dull" in printed


def test_a_run_is_held_against_what_it_began_as(models: tuple[Path, Path], tmp_path: Path) -> None:
    """first → second → third: whichever is named first, the later is held against the earlier."""
    before = str(models[0])
    for name in ("second", "third"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text("{}")
        (tmp_path / name / "config.yaml").write_text(f"model: {before}\n")
        before = str(tmp_path / name)
    assert ancestors(tmp_path / "third") == [str(tmp_path / "second" / "model"), str(models[0])]
    assert ancestors(models[0]) == []
    assert began_as(tmp_path / "third", models[0]) == 1
    assert began_as(models[0], tmp_path / "third") == 0
    assert began_as(models[0], models[1]) == 1
    (tmp_path / "third" / "config.yaml").write_text(f"model: {tmp_path / 'third'}\n")
    assert ancestors(tmp_path / "third") == [str(tmp_path / "third" / "model")]


def test_what_a_run_began_as_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "config.yaml").write_text("model: smollm2\n")
    assert ancestors(tmp_path) == [str(tmp_path / "cache" / "smollm2-0.1.2")]
    assert not (tmp_path / "cache").exists()


def mistakes(models: tuple[Path, Path], tmp_path: Path) -> list[tuple[dict[str, Any], str]]:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.yaml").write_text("model: x\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    (tmp_path / "empty.jsonl").touch()
    scorer = save_scorer(tmp_path / "a_scorer")
    nowhere = str(tmp_path / "nowhere")
    return [
        ({"a": nowhere}, f"no such folder {nowhere}"),
        ({"b": nowhere}, f"no such folder {nowhere}"),
        ({"b": str(tmp_path / "unfinished")}, "is an unfinished run"),
        ({"b": str(scorer)}, "is a reward model, which cannot generate text"),
        ({"judge": "golden"}, "--judge golden is neither a folder nor a known judge: give gold"),
        ({"judge": str(models[0])}, "is a model but not a reward model"),
        ({"judge": "no_such_module_here:f"}, "--judge no_such_module_here:f cannot be imported"),
        ({"judge": "http://127.0.0.1:9/v1"}, "the judge at http://127.0.0.1:9/v1 does not respond"),
        ({"judge": "gold", "judge_model": "x"}, "--judge-model x is for a judge at a URL"),
        ({"prompts": 0}, "--prompts must be at least 1, not 0"),
        ({"temperature": float("nan")}, "temperature must be at least 0.0001, not nan"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, not 0"),
        ({"judge_timeout": 1e300}, "--judge-timeout must lie in (0, 86400] seconds, not 1e+300"),
        ({"judge_timeout": float("nan")}, "--judge-timeout must lie in (0, 86400] seconds, not nan"),
        ({"out": tmp_path / "full"}, "exists and is not empty: choose another --out"),
        ({"out": tmp_path / "full" / "something"}, "something is a file: choose another --out"),
        ({"data": str(tmp_path / "empty.jsonl")}, "empty.jsonl"),
        ({"temperature": 1e-300}, "temperature must be at least 0.0001, not 1e-300"),
        ({"max_new_tokens": 40}, "leaves no room for a prompt"),
    ]


def test_mistakes_are_sentences(models: tuple[Path, Path], tmp_path: Path) -> None:
    for given, sentence in mistakes(models, tmp_path):
        asked: dict[str, Any] = {"a": models[0], "b": models[1], "data": ROWS, "judge": longer, **SHORT} | given
        with pytest.raises(UserError) as told:
            compare(asked.pop("a"), asked.pop("b"), **asked)
        assert sentence in str(told.value), given
        assert "--reward " not in str(told.value), given


def command(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int | str | None, str, str]:
    """Status, output and errors of `burnish compare`."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    return ended.value.code, *capfd.readouterr()


def test_the_command_prints_and_writes(
    models: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "by_length.py").write_text(
        "def judge(prompts, a, b):\n    return [len(x) - len(y) for x, y in zip(a, b)]\n"
    )
    monkeypatch.chdir(tmp_path)
    data = tiny.write_rows(tmp_path / "rows.jsonl", ROWS)
    options = ["--data", data, "--max-new-tokens", 8, "--max-length", 40, "--seed", 3, "--threads", 1, "--quiet"]
    status, told, _ = command(capfd, *models, *options, "--judge", "by_length:judge", "--out", tmp_path / "out")
    assert status == 0
    assert "by_length:judge" in told
    assert told.strip().endswith(str(tmp_path / "out" / "compare.html"))
    rows = [json.loads(line) for line in (tmp_path / "out" / "compare.jsonl").read_text().splitlines()]
    assert rows == compare(*models, ROWS, longer, **SHORT).rows
    status, told, err = command(capfd, models[0], tmp_path / "nowhere", *options)
    assert (status, told) == (2, "")
    assert err == (
        f"burnish: no such folder {tmp_path / 'nowhere'}: give a run folder, a model folder, or a model name\n"
    )
    status, _, err = command(capfd, *models, *options, "--judge", "http://127.0.0.1:9/v1")
    assert status == 2
    assert "does not respond" in err
    assert err.count("\n") == 1
