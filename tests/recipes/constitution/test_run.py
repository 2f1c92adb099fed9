"""`burnish constitution` from its arguments to its files, with a real process that is killed."""

import json
import signal
import time
from math import exp, log
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import jobs
import pytest
import tiny
from judge_servers import Seen, Status, judge_server

from burnish.config import Settings
from burnish.data import adapters, builtin, sources
from burnish.evaluation.served_model import ServedModel
from burnish.recipes.constitution.calls import spoken
from burnish.recipes.constitution.run import constitution
from burnish.run import UserError

BASE = Settings(quiet=True, threads=1, device="cpu")
PAIRS = [{"prompt": f"p{i}", "a": "x" * (i + 1), "b": f"y{i}"} for i in range(6)]
RULES = ["Choose the longer.", "Choose the better."]


def written(folder: Path, rows: list[dict[str, Any]] = PAIRS) -> str:
    return str(tiny.write_rows(folder / "pairs.jsonl", rows))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def question(seen: Seen) -> str:
    return str(seen.body["messages"][0]["content"])


def options(seen: Seen) -> tuple[str, str]:
    first, second = question(seen).split("(A) ")[1].split("\n\nWhich")[0].split("\n\n(B) ")
    return first, second


def reply(a: float, b: float) -> dict[str, Any]:
    listed = [{"token": "A", "logprob": log(a)}, {"token": "B", "logprob": log(b)}]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": listed}]}}]}


def longer(seen: Seen) -> dict[str, Any]:
    """0.6 for the longer option and 0.2 for the other; if both have two letters, 0.5 for the first and 0.3."""
    first, second = map(len, options(seen))
    return reply(0.5, 0.3) if first == second else reply(0.6, 0.2) if first > second else reply(0.2, 0.6)


def test_labels_are_read_as_comparisons_with_confidences(tmp_path: Path) -> None:
    """x has 1 to 6 letters and y0 to y5 have 2: y0 is better by 0.75, x and y1 are even, then x by 0.75."""
    out = tmp_path / "labels.jsonl"
    with judge_server(longer) as server:
        made = constitution(written(tmp_path), RULES, server.url, out, base=BASE)
        assert len(server.requests) == 12
        constitution(written(tmp_path), RULES, server.url, out, base=BASE)
        assert len(server.requests) == 12  # all of it is on disk
    assert rows(out) == made.rows
    assert [one["chosen"] for one in made.rows] == ["y0", "xx", "xxx", "xxxx", "xxxxx", "xxxxxx"]
    assert [one["confidence"] for one in made.rows] == pytest.approx([0.75, 0.5, 0.75, 0.75, 0.75, 0.75])
    assert made.rows[1]["probabilities"] == pytest.approx([0.625, 0.375])
    assert {one["principle"] for one in made.rows} == set(RULES)
    assert all(f"{one['principle']}\n\nOptions" in "".join(map(question, server.requests)) for one in made.rows)
    assert {one["judge"] for one in made.rows} == {f"ruler at {server.url}"}
    summary = json.loads((tmp_path / "labels.summary.json").read_text())
    assert (summary["labels"], summary["orders_disagree"], summary["requests"]) == (6, 1, 12)
    assert summary["position_bias"]["mean"] == pytest.approx((5 * 0.5 + 0.625) / 6)
    assert summary["option_mass"] == pytest.approx(0.8)
    ((name, dataset),) = sources.load_parts(str(out))
    examples = list(adapters.preferences(dataset, name, chat=False).examples)
    assert [one.confidence for one in examples] == [one["confidence"] for one in made.rows]
    assert examples[0].responses == ("y0", "x")


def test_a_model_in_this_process_is_asked_the_same(tmp_path: Path) -> None:
    """The probabilities are those of a forward pass of the model on the question, written out."""
    import torch

    words = (*tiny.WORDS, "(A", "(B")
    model = tiny.make_model("llama", vocab_size=len(words) + 3, max_position_embeddings=200)
    model.save_pretrained(tmp_path / "judge")
    tokenizer = tiny.make_tokenizer(words)
    tokenizer.save_pretrained(tmp_path / "judge")
    data = written(tmp_path, [{"prompt": "the film", "a": "is good", "b": "was very dull and bad"}])
    made = constitution(data, ["good is not bad"], tmp_path / "judge", tmp_path / "l.jsonl", base=BASE)
    shares = []
    for first, second in (("is good", "was very dull and bad"), ("was very dull and bad", "is good")):
        text = f"Consider the following conversation: the film good is not bad Options: (A) {first} (B) {second} "
        ids = torch.tensor([tokenizer(f"{text} The answer is:")["input_ids"]])
        logits = model(input_ids=ids).logits[0, -1].detach().double()
        a, b = (exp(logits[words.index(option) + 3]) for option in ("(A", "(B"))
        shares.append(a / (a + b))
    better = (shares[0] + 1 - shares[1]) / 2
    assert made.rows[0]["confidence"] == pytest.approx(max(better, 1 - better), abs=1e-6)
    assert made.rows[0]["chosen"] == ("is good" if better >= 0.5 else "was very dull and bad")
    assert made.rows[0]["judge"].startswith(f"{tmp_path / 'judge'} (")


def test_a_killed_run_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    """The process is killed at its seventh request: what is on disk is not asked again, all else is."""
    out, data = tmp_path / "labels.jsonl", written(tmp_path)
    (tmp_path / "principles.yaml").write_text("".join(f"- {one}\n" for one in RULES))
    command = ["constitution", "--data", data, "--out", str(out), "--quiet"]
    process: list[ForkServerProcess] = []

    def killing(seen: Seen) -> dict[str, Any]:
        if len(server.requests) == 7:
            process[0].kill()
            while Path(f"/proc/{process[0].pid}").exists():
                time.sleep(0.001)
        return longer(seen)

    with judge_server(killing) as server:
        command += ["--principles", str(tmp_path / "principles.yaml"), "--judge", server.url]
        process.append(jobs.start(command, tmp_path / "log"))
        assert jobs.finish(process[0], 120) == -signal.SIGKILL
        known = {one["key"] for one in rows(tmp_path / "labels.calls.jsonl")}
        assert 4 <= len(known) < 12
        assert not out.exists()
        before = len(server.requests)
        made = constitution(data, tmp_path / "principles.yaml", server.url, out, base=BASE)
        assert len(server.requests) - before == 12 - len(known)
        whole = constitution(data, RULES, server.url, tmp_path / "whole.jsonl", base=BASE)
    assert made.rows == whole.rows
    assert len({one["key"] for one in rows(tmp_path / "labels.calls.jsonl")}) == 12


def test_the_budget_holds_over_runs_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with judge_server(longer) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        for _ in range(2):
            found = constitution(*arguments, budget=5, base=BASE).found
            assert (len(server.requests), found["requests"], found["labels"], found["not_asked"]) == (5, 5, 2, 4)
        assert constitution(*arguments, budget=100, base=BASE).found["labels"] == 6
        assert len(server.requests) == 12


def test_tokens_that_the_server_counts_bound_the_requests(tmp_path: Path) -> None:
    """Each request takes 100 tokens, and a pair two requests: after two pairs at a time 400 of 250 are used."""
    with judge_server(lambda seen: longer(seen) | {"usage": {"total_tokens": 100}}) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        for _ in range(2):
            found = constitution(*arguments, budget_tokens=250, base=BASE).found
            assert (len(server.requests), found["tokens"], found["labels"], found["not_asked"]) == (4, 400, 2, 4)
        assert constitution(*arguments, budget_tokens=5000, base=BASE).found["labels"] == 6
    with judge_server(longer) as server, pytest.raises(UserError, match="does not say how many tokens"):
        constitution(written(tmp_path), RULES, server.url, tmp_path / "o.jsonl", budget_tokens=250, base=BASE)
    assert len(server.requests) == 4
    with pytest.raises(UserError, match="--budget-tokens must be at least 1, not 0"):
        constitution(written(tmp_path), RULES, server.url, tmp_path / "o.jsonl", budget_tokens=0, base=BASE)


def test_a_budget_that_labels_nothing_leaves_the_labels_that_are_there(tmp_path: Path) -> None:
    """The budget of 12 is used up by the labels by one list, and another one is asked for."""
    out = tmp_path / "l.jsonl"
    with judge_server(longer) as server:
        constitution(written(tmp_path), RULES, server.url, out, base=BASE)
        before = [path.read_bytes() for path in (out, tmp_path / "l.summary.json")]
        with pytest.raises(UserError) as caught:
            constitution(written(tmp_path), ["Another."], server.url, out, budget=12, base=BASE)
        assert len(server.requests) == 12
    assert [path.read_bytes() for path in (out, tmp_path / "l.summary.json")] == before
    why = "(the budget is used up: raise it; or choose another --out)"
    assert str(caught.value) == f"there is no row to write, and {out} stays as it is {why}"


def test_what_the_template_rejects_is_one_row_and_is_named(tmp_path: Path) -> None:
    """The second pair of the second file: the model is asked about the others, which are of the same batch."""
    words = (*tiny.WORDS, "(A", "(B")
    tiny.make_model("llama", vocab_size=len(words) + 3, max_position_embeddings=400).save_pretrained(tmp_path / "judge")
    tokenizer = tiny.make_tokenizer(words)
    tokenizer.chat_template = tiny.REJECTING + str(tiny.make_chat_tokenizer().chat_template)
    tokenizer.save_pretrained(tmp_path / "judge")
    pairs = [{"prompt": prompt, "a": "good", "b": "bad"} for prompt in ("the film", "the plot", "not", "really")]
    files = [str(tiny.write_rows(tmp_path / f"{i}.jsonl", pairs[2 * i : 2 * i + 2])) for i in (0, 1)]
    made = constitution(files, ["fine"], tmp_path / "judge", tmp_path / "l.jsonl", base=BASE)
    assert [(row["source"], row["row"]) for row in made.rows] == [(files[0], 0), (files[0], 1), (files[1], 0)]
    problem = "the chat template rejects its messages (nothing is really so)"
    assert made.found["first_unread"] == {"source": files[1], "row": 1, "problem": problem}
    assert (made.found["unread"], made.found["problems"], made.found["requests"]) == (1, {problem: 2}, 6)
    kept = [one for one in rows(tmp_path / "l.calls.jsonl") if one["problem"]]
    assert [(one["source"], one["row"]) for one in kept] == [(files[1], 1)] * 2


def test_what_is_left_out_of_the_data_is_counted(tmp_path: Path) -> None:
    """Of ratings a tie is no pair; of pairs one has equal answers, and two are there before, one in the other order."""
    pair = {"prompt": "p", "a": "x", "b": "yy"}
    more = [pair, {"prompt": "p", "a": "yy", "b": "x"}, pair, {"prompt": "q", "a": "x", "b": "x"}]
    ratings = [("g", "x", 1), ("g", "yy", 1), ("h", "x", 1), ("h", "yy", 2)]
    rated = [{"prompt": prompt, "response": text, "score": score} for prompt, text, score in ratings]
    data = [written(tmp_path, more), str(tiny.write_rows(tmp_path / "rated.jsonl", rated))]
    with judge_server(longer) as server:
        found = constitution(data, RULES, server.url, tmp_path / "l.jsonl", base=BASE).found
    assert (found["pairs"], found["labels"]) == (2, 2)
    assert found["left_out"] == {"ties": 1, "equal": 1, "repeated": 2}


def test_what_cannot_be_read_is_kept_and_counted_and_not_asked_again(tmp_path: Path) -> None:
    """The judge says nothing of B where x is three letters long: one pair in both orders."""

    def rule(seen: Seen) -> dict[str, Any]:
        found = longer(seen)
        if "xxx" in options(seen):
            del found["choices"][0]["logprobs"]["content"][0]["top_logprobs"][1]
        return found

    with judge_server(rule) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        found = constitution(*arguments, base=BASE).found
        assert constitution(*arguments, base=BASE).found == found
        assert len(server.requests) == 12
    assert (found["labels"], found["unread"], found["unread_calls"]) == (5, 1, 2)
    assert found["problems"] == {"B not among the 1 likeliest tokens ('A')": 2}
    kept = [one for one in rows(tmp_path / "l.calls.jsonl") if one["outcome"] == "unread"]
    assert [one["row"] for one in kept] == [2, 2]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (400, r"failed \(HTTP 400: not now\): 0 answers are kept"),
        ("A", r"failed \(a reply without the likeliest tokens"),
        (401, r"failed \(the judge at .* refused the request \(HTTP 401: not now\): correct the key"),
    ],
)
def test_a_judge_that_refuses_everything_is_left_at_once(tmp_path: Path, answer: Any, said: str) -> None:
    """Nothing of it counts as read: a judge that is put right is asked again."""
    broken = True

    def rule(seen: Seen) -> Any:
        if broken and isinstance(answer, int):
            raise Status(answer)
        return answer if broken else longer(seen)

    with judge_server(rule) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        with pytest.raises(UserError, match=said):
            constitution(*arguments, base=BASE)
        assert len(server.requests) == 4
        broken = False
        assert constitution(*arguments, base=BASE).found["labels"] == 6


def test_a_failing_server_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServedModel, "rest", lambda *_: None)
    fails = True

    def rule(seen: Seen) -> dict[str, Any]:
        if fails and "p3" in question(seen):
            raise Status(503)
        return longer(seen)

    with judge_server(rule) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        with pytest.raises(
            UserError, match=r"HTTP 503: not now\): 6 answers are kept in .*give the same command again"
        ):
            constitution(*arguments, base=BASE)
        fails = False
        found = constitution(*arguments, base=BASE).found
    assert (found["labels"], found["requests"]) == (6, 12 + 2 * 3)


@pytest.mark.parametrize("answer", [302, 402, 405, 410, {"error": {"message": "not now"}}])
def test_what_the_server_refuses_for_a_while_is_asked_again(
    tmp_path: Path, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the seventh request on there is no credit, or the server moves: no pair is given up for that."""
    monkeypatch.setattr(ServedModel, "rest", lambda *_: None)
    broken = True

    def rule(seen: Seen) -> Any:
        if not broken or len(server.requests) < 7:
            return longer(seen)
        if isinstance(answer, int):
            raise Status(answer)
        return answer

    with judge_server(rule) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        with pytest.raises(UserError, match=r"not now\): .* answers are kept in .*give the same command again"):
            constitution(*arguments, base=BASE)
        broken = False
        found = constitution(*arguments, base=BASE).found
    assert (found["labels"], found["unread"]) == (6, 0)


def test_other_pairs_are_refused_and_the_labels_stay(tmp_path: Path) -> None:
    out = tmp_path / "l.jsonl"
    with judge_server(longer) as server:
        constitution(written(tmp_path, PAIRS[:2]), RULES, server.url, out, base=BASE)
        before = out.read_bytes()
        with pytest.raises(UserError, match=r"l\.calls\.jsonl has calls about 2 pairs that are not in the data"):
            constitution(written(tmp_path, PAIRS[2:]), RULES, server.url, out, base=BASE)
        assert out.read_bytes() == before
        assert constitution(written(tmp_path), RULES, server.url, out, base=BASE).found["requests"] == 12


def test_a_pair_that_is_in_the_data_in_both_orders_is_asked_about_once(tmp_path: Path) -> None:
    """Calls about the other order, as earlier versions made them, are of the data too."""
    out, twice = tmp_path / "l.jsonl", [{"prompt": "p", "a": "x", "b": "yy"}, {"prompt": "p", "a": "yy", "b": "x"}]
    with judge_server(longer) as server:
        constitution(written(tmp_path, twice[1:]), RULES, server.url, out, base=BASE)
        made = constitution(written(tmp_path, twice), RULES, server.url, tmp_path / "m.jsonl", base=BASE)
        assert (len(made.rows), len(server.requests)) == (1, 4)
        assert len(constitution(written(tmp_path, twice), RULES, server.url, out, base=BASE).rows) == 1


def test_a_file_that_is_not_of_labels_is_not_replaced(tmp_path: Path) -> None:
    data = Path(written(tmp_path))
    before = data.read_bytes()
    with pytest.raises(UserError, match=r"pairs\.jsonl is read by this command, which would write it: choose"):
        constitution(str(data), RULES, "builtin", data, base=BASE)
    assert data.read_bytes() == before


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p", "a": "x"}, r"pairs\.jsonl has prompts without answers"),
        ({"prompt": "p", "a": "x", "b": ""}, r"row 0: the prompt has one answer"),
        ({"prompt": "p", "a": "x", "b": "x"}, r"pairs\.jsonl has no pair of answers that differ"),
    ],
)
def test_data_without_pairs_are_refused(tmp_path: Path, row: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        constitution(written(tmp_path, [row]), RULES, "builtin", tmp_path / "l.jsonl", base=BASE)


def test_builtin_comparisons_are_judged_beside_people(tmp_path: Path) -> None:
    """The judge prefers the longer review: in how many of the first 50 that is the chosen one is counted here."""
    with judge_server(longer) as server:
        made = constitution("builtin", RULES[:1], server.url, tmp_path / "l.jsonl", prompts=50, base=BASE)
    rows = builtin.comparisons("held_out").select(range(50))
    lengths = [(len(row["chosen"]), len(row["rejected"])) for row in rows]
    right = sum((a > b) + (a == b) / 2 for a, b in lengths)
    told = made.found["agreement"]
    assert (told["judge"]["mean"], told["judge"]["n"]) == (pytest.approx(right / 50), 50)
    assert [one["count"] for one in told["judge_by_gap"]] == [25, 25]
    assert len(told["people_by_gap"]) == 2
    assert [(row["source"], row["row"]) for row in made.rows] == [("builtin", number) for number in range(50)]


def test_labels_of_people_are_judged_pair_by_pair(tmp_path: Path) -> None:
    """The judge prefers the longer answer a of p and b of q: Anna and Ben both say a of p, Anna b and Ben a of q. The
    pair with an empty answer is left out."""
    beside = [("p", "longer", "x", "anna", "a"), ("q", "x", "longer", "anna", "b"), ("p", "longer", "x", "ben", "a")]
    beside += [("q", "x", "longer", "ben", "a"), ("r", "x", "", "ben", "a")]
    rows = [dict(zip(("prompt", "a", "b", "rater", "verdict"), one, strict=True)) for one in beside]
    with judge_server(longer) as server:
        made = constitution(written(tmp_path, rows), RULES, server.url, tmp_path / "l.jsonl", base=BASE)
    assert [(row["chosen"], row["row"]) for row in made.rows] == [("longer", 0), ("longer", 1)]
    assert made.found["left_out"] == {"empty": 1}
    told = made.found["agreement"]
    assert [(told[who]["mean"], told[who]["n"]) for who in ("judge", "people")] == [(0.75, 2), (0.5, 2)]


def test_conversations_are_judged_and_kept_as_they_are(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Hi"}]
    a, b = ([{"role": "assistant", "content": text}] for text in ("long one", "no"))
    with judge_server(longer) as server:
        data = written(tmp_path, [{"prompt": talk, "a": a, "b": b}])
        (label,) = constitution(data, RULES, server.url, tmp_path / "l.jsonl", base=BASE).rows
        assert f"{spoken(talk)}\n\nChoose" in question(server.requests[0])
    assert (label["prompt"], label["chosen"], label["rejected"]) == (talk, a, b)


def reasons(seen: Seen) -> Any:
    """Says what it sees of the options first; then prefers the option of its thought by 0.9 to 0.1, and where it is
    asked about them without a thought, as `longer` does."""
    messages = seen.body["messages"]
    if "top_logprobs" in seen.body:
        return reply(0.9, 0.1) if messages[1]["content"].endswith("A") else reply(0.1, 0.9)
    assert len(messages) == 1
    assert messages[0]["content"].endswith("Which option is better, and why? Let's think step by step.")
    first, second = messages[0]["content"].split("(A) ")[1].split("\n\nWhich")[0].split("\n\n(B) ")
    return f"The longer is {'A' if len(first) > len(second) else 'B'}"


def test_a_judge_that_reasons_is_asked_for_its_thought_first_and_its_labels_are_clamped(tmp_path: Path) -> None:
    """y0 is better by 0.9, xx and y1 are even, as both orders say B; then x by 0.9. Labels are 0.6 at most."""
    out = tmp_path / "labels.jsonl"
    with judge_server(reasons) as server:
        arguments = (written(tmp_path), RULES, server.url, out)
        made = constitution(*arguments, reason=True, base=BASE)
        assert len(server.requests) == 24
        assert constitution(*arguments, reason=True, base=BASE) == made
        wider = constitution(*arguments, reason=True, clamp=(0.25, 0.75), base=BASE)
        free = constitution(*arguments, reason=True, clamp=(0.0, 1.0), base=BASE)
        assert len(server.requests) == 24  # all of it is on disk
        assert constitution(*arguments, reason=True, max_new_tokens=9, base=BASE).rows == made.rows
        assert len(server.requests) == 24 + 12  # other thoughts, which say the same, so that the choices are known
        thoughts = [seen for seen in server.requests if "top_logprobs" not in seen.body]
    assert [one["chosen"] for one in made.rows] == ["y0", "xx", "xxx", "xxxx", "xxxxx", "xxxxxx"]
    assert [one["confidence"] for one in made.rows] == pytest.approx([0.6, 0.5, 0.6, 0.6, 0.6, 0.6])
    assert [one["confidence"] for one in wider.rows] == pytest.approx([0.75, 0.5, 0.75, 0.75, 0.75, 0.75])
    assert [one["confidence"] for one in free.rows] == pytest.approx([0.9, 0.5, 0.9, 0.9, 0.9, 0.9])
    assert [one["probabilities"] for one in made.rows] == [one["probabilities"] for one in free.rows]
    assert [made.found[key] for key in ("reason", "clamp", "clamped", "requests")] == [True, [0.4, 0.6], 5, 24]
    assert [free.found[key] for key in ("clamp", "clamped")] == [[0.0, 1.0], 0]
    assert {(one.body["max_tokens"], one.body["temperature"]) for one in thoughts} == {(256, 0.0), (9, 0.0)}
    kept = [one for one in rows(tmp_path / "labels.calls.jsonl") if one.get("step") == "reasoning"]
    assert {one["text"] for one in kept} == {"The longer is A", "The longer is B"}


def test_without_reasoning_labels_are_clamped_where_it_is_asked_for(tmp_path: Path) -> None:
    with judge_server(longer) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        assert constitution(*arguments, base=BASE).found["clamp"] == [0.0, 1.0]
        found = constitution(*arguments, clamp=(0.3, 0.7), base=BASE).rows
    assert [one["confidence"] for one in found] == pytest.approx([0.7, 0.5, 0.7, 0.7, 0.7, 0.7])


def test_a_thought_that_is_empty_leaves_its_pair_without_a_label(tmp_path: Path) -> None:
    """That of p2 where x is option A: its other thought is known, and neither choice is asked for."""

    def rule(seen: Seen) -> Any:
        return "" if "(A) xxx\n\n(B) y2" in question(seen) and "logprobs" not in seen.body else reasons(seen)

    with judge_server(rule) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        found = constitution(*arguments, reason=True, base=BASE).found
        assert constitution(*arguments, reason=True, base=BASE).found == found
        assert len(server.requests) == 22
    assert [found[key] for key in ("labels", "unread", "unread_calls", "not_asked")] == [5, 1, 1, 0]
    assert found["problems"] == {"an empty answer": 1}


def test_the_budget_of_a_judge_that_reasons_finishes_pairs(tmp_path: Path) -> None:
    """Of nine requests two pairs need eight; the ninth is a thought."""
    with judge_server(reasons) as server:
        arguments = (written(tmp_path), RULES, server.url, tmp_path / "l.jsonl")
        found = constitution(*arguments, reason=True, budget=9, base=BASE).found
        assert [found[key] for key in ("labels", "not_asked", "requests")] == [2, 4, 9]
        assert constitution(*arguments, reason=True, budget=24, base=BASE).found["labels"] == 6


def test_a_server_that_writes_but_gives_no_alternatives_is_left_at_once(tmp_path: Path) -> None:
    with judge_server(lambda seen: "So.") as server:
        with pytest.raises(UserError, match=r"failed \(a reply without the likeliest tokens.*: 4 answers are kept"):
            constitution(written(tmp_path), RULES, server.url, tmp_path / "l.jsonl", reason=True, base=BASE)
        assert len(server.requests) == 8


def test_a_model_in_this_process_reasons_too(tmp_path: Path) -> None:
    """Its thought is the likeliest text behind the question, and the options come behind it."""
    import torch

    from burnish.policies.language.policy import LanguagePolicy
    from burnish.policies.language.sampler import sample

    words = (*tiny.WORDS, "(A", "(B", "step:")
    model = tiny.make_model("llama", vocab_size=len(words) + 3, max_position_embeddings=200)
    model.save_pretrained(tmp_path / "judge")
    tokenizer = tiny.make_tokenizer(words)
    tokenizer.save_pretrained(tmp_path / "judge")
    data = written(tmp_path, [{"prompt": "the film", "a": "is good", "b": "was very dull and bad"}])
    options: dict[str, Any] = {"reason": True, "clamp": (0.0, 1.0), "max_new_tokens": 5, "base": BASE}
    made = constitution(data, ["good is not bad"], tmp_path / "judge", tmp_path / "l.jsonl", **options)
    shares = []
    for first, second in (("is good", "was very dull and bad"), ("was very dull and bad", "is good")):
        text = f"Consider the following conversation: the film good is not bad Options: (A) {first} (B) {second}"
        ids = tokenizer(f"{text} Let's think step by step:")["input_ids"]
        thought = sample(LanguagePolicy(model, tokenizer), [ids], seed=0, max_new_tokens=5, top_k=1).tokens[0]
        whole = [*ids, *(token for token in thought if token > 2), *tokenizer(" The answer is:")["input_ids"][1:]]
        logits = model(input_ids=torch.tensor([whole])).logits[0, -1].detach().double()
        a, b = (exp(logits[words.index(option) + 3]) for option in ("(A", "(B"))
        shares.append(a / (a + b))
    better = (shares[0] + 1 - shares[1]) / 2
    assert made.rows[0]["confidence"] == pytest.approx(max(better, 1 - better), abs=1e-6)


def test_people_are_mixed_in_and_training_reads_the_rows(tmp_path: Path) -> None:
    """People labelled four of the six pairs and two others: of the four two are the judge's, with one pair more it has
    as many as people, whose other four rows there are; so the judge is asked about four pairs."""
    people = [{"prompt": f"p{i}", "chosen": f"y{i}", "rejected": "x" * (i + 1), "confidence": 0.9} for i in range(4)]
    people += [{"prompt": f"q{i}", "chosen": "u", "rejected": "v", "confidence": 1.0} for i in range(2)]
    path = tiny.write_rows(tmp_path / "people.jsonl", people)
    out = tmp_path / "mixed.jsonl"
    with judge_server(longer) as server:
        options: dict[str, Any] = {"people": str(path), "ai_share": 0.5, "base": BASE}
        made = constitution(written(tmp_path), RULES, server.url, out, **options)
        assert len(server.requests) == 8
        assert constitution(written(tmp_path), RULES, server.url, out, **options) == made
    assert rows(out) == made.rows
    assert len({one["prompt"] for one in made.rows}) == len(made.rows) == 8
    by = {who: [one for one in made.rows if one["by"] == who] for who in ("judge", "people")}
    assert [len(by[who]) for who in ("judge", "people")] == [4, 4]
    assert {one["source"] for one in by["people"]} == {str(path)}
    assert {one["source"] for one in by["judge"]} == {str(tmp_path / "pairs.jsonl")}
    assert {"p4", "p5"} <= {one["prompt"] for one in by["judge"]}
    assert made.found["people"] == {
        "ai_share": 0.5,
        "comparisons": 6,
        "left_out": {},
        "rows": {"judge": 4, "people": 4},
    }
    ((name, dataset),) = sources.load_parts(str(out))
    examples = list(adapters.preferences(dataset, name, chat=False).examples)
    assert [one.confidence for one in examples] == [one["confidence"] for one in made.rows]
    assert all(one["confidence"] in (0.9, 1.0) for one in by["people"])
    before = out.read_bytes()
    with judge_server(longer) as server, pytest.raises(UserError, match=r"--ai-share 0\.01 of 2 .* no row"):
        constitution(written(tmp_path), RULES, server.url, out, people=str(path), ai_share=0.01, base=BASE)
    assert (out.read_bytes(), server.requests) == (before, [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clamp": (0.3, 0.6)}, "--clamp 0.3 0.6 must lie around 0.5 evenly, such as 0.4 0.6"),
        ({"clamp": (0.6, 0.4)}, "--clamp 0.6 0.4 must lie around"),
        ({"clamp": (-0.1, 1.1)}, "--clamp -0.1 1.1 must lie around"),
        ({"max_new_tokens": 5}, "--max-new-tokens 5 is for --reason"),
        ({"max_new_tokens": 0, "reason": True}, "--max-new-tokens must be at least 1"),
        ({"ai_share": 0.5}, "--ai-share 0.5 is for --people"),
        ({"people": "nowhere.jsonl", "ai_share": 0.5}, "nowhere.jsonl"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_sentence(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        constitution(written(tmp_path), RULES, "builtin", tmp_path / "l.jsonl", **options, base=BASE)
    assert not (tmp_path / "l.calls.jsonl").exists()
