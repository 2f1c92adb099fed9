"""`burnish constitution --part supervised` from its arguments to its files, local and served, and killed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from judge_servers import Seen, Status, judge_server
from served import serving

from burnish.config import Settings
from burnish.data import adapters, sources
from burnish.evaluation.served_model import ServedModel
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.recipes.constitution.revising import revise
from burnish.run import UserError

BASE = Settings(quiet=True, threads=1, device="cpu")
PROMPTS = [{"prompt": f"p{i}"} for i in range(6)]
RULES: list[Any] = ["Be kind.", {"critique": "Is it true?", "revision": "Make it true."}]
WORDS = ("<s>", "</s>", "<unk>", *tiny.WORDS)


def written(folder: Path, rows: list[dict[str, Any]] = PROMPTS) -> str:
    return str(tiny.write_rows(folder / "prompts.jsonl", rows))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def says(seen: Seen) -> str:
    """`p2.0` for the first answer to p2, `why p2.0` for its critique, `p2.1` for its revision, and so on."""
    texts = [str(one["content"]) for one in seen.body["messages"]]
    if len(texts) == 1:
        return f"{texts[0]}.0"
    if len(texts) == 3:
        return f"why {texts[1]}"
    assert texts[3] == f"why {texts[1]}"
    name, _, number = texts[1].partition(".")
    return f"{name}.{int(number) + 1}"


def test_the_last_revisions_are_demonstrations_with_their_provenance(tmp_path: Path) -> None:
    out = tmp_path / "revised.jsonl"
    with judge_server(says) as server:
        made = revise(written(tmp_path), RULES, out, server=server.url, revisions=2, base=BASE)
        assert len(server.requests) == 6 * 5
        assert revise(written(tmp_path), RULES, out, server=server.url, revisions=2, base=BASE) == made
        assert len(server.requests) == 6 * 5  # all of it is on disk
        more = revise(written(tmp_path), RULES, out, server=server.url, revisions=3, base=BASE)
        assert len(server.requests) == 6 * 7  # the first rounds are the same
    assert [row["completion"] for row in made.rows] == [[{"role": "assistant", "content": f"p{i}.2"}] for i in range(6)]
    assert [row["completion"][0]["content"] for row in more.rows] == [f"p{i}.3" for i in range(6)]
    assert rows(out) == more.rows
    calls = {one["key"]: one for one in rows(tmp_path / "revised.calls.jsonl")}
    for row in made.rows:
        mine = [calls[key] for key in row["calls"]]
        assert [one["step"] for one in mine] == ["answer", "critique", "revision", "critique", "revision"]
        assert [one["principle"] for one in mine[1::2]] == row["principles"] == [one["principle"] for one in mine[2::2]]
        assert mine[-1]["text"] == row["completion"][0]["content"]
        assert (row["model"], row["checksum"]) == (f"ruler at {server.url}", None)
    assert {one for row in more.rows for one in row["principles"]} == {"Be kind.", "Is it true?"}
    chain = made.chains[2]
    assert (chain["row"], chain["answer"], chain["problem"]) == (2, "p2.0", "")
    assert [one["critique"] for one in chain["revisions"]] == ["why p2.0", "why p2.1"]
    assert [one["revision"] for one in chain["revisions"]] == ["p2.1", "p2.2"]
    assert rows(tmp_path / "revised.chains.jsonl") == more.chains
    asked = {str(seen.body["messages"][-1]["content"]) for seen in server.requests}
    assert {"Is it true?", "Make it true."} < asked
    summary = json.loads((tmp_path / "revised.summary.json").read_text())
    assert [summary[key] for key in ("prompts", "revised", "unread", "requests", "unchanged")] == [6, 6, 0, 42, 0]
    assert summary["characters"] == [4.0, 4.0]


def test_sft_reads_the_file_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "revised.jsonl"
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "p9"}]
    with judge_server(lambda seen: "so") as server:
        revise(written(tmp_path, [{"prompt": "p0"}, {"prompt": talk}]), RULES, out, server=server.url, base=BASE)
    ((name, dataset),) = sources.load_parts(str(out))
    found = list(adapters.demonstrations(dataset, name, chat=True).examples)
    assert [one.prompt for one in found] == [[{"role": "user", "content": "p0"}], talk]
    assert [one.responses for one in found] == [([{"role": "assistant", "content": "so"}],)] * 2


def by_hand(model: Any, tokenizer: Any, prompt: str, seed: int) -> list[str]:
    """Answer, critique and revision by the sampler, message by message."""
    said: list[str] = []
    messages = [{"role": "user", "content": prompt}]
    policy = LanguagePolicy(model, tokenizer)
    for request in ("good", "bad", ""):
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        asked = json.dumps([messages, "", {}], sort_keys=True)
        stream = int(hashlib.sha256(asked.encode()).hexdigest(), 16) % 2**62
        found = sample(policy, [ids], seed=seed, max_new_tokens=60, streams=[stream])
        said.append(" ".join(WORDS[token] for token in found.tokens[0] if token not in (0, 1, 2, 6, 7)))
        messages += [{"role": "assistant", "content": said[-1]}, {"role": "user", "content": request}]
    return said


def test_a_model_in_this_process_is_asked_as_by_hand(tmp_path: Path) -> None:
    """What it says is the sampler's on the rendered conversation; the file is read by training with its tokens."""
    model = tiny.make_model("llama", max_position_embeddings=400)
    tokenizer = tiny.make_chat_tokenizer("a")
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    principles = [{"critique": "good", "revision": "bad"}]
    prompts = [{"prompt": text} for text in ("the film", "very dull", "a great film", "not fine")]
    options: dict[str, Any] = {"model": tmp_path / "model", "max_new_tokens": 60}
    base = Settings(quiet=True, threads=1, device="cpu", seed=5)
    made = revise(written(tmp_path, prompts), principles, tmp_path / "r.jsonl", **options, base=base)
    whole = [by_hand(model, tokenizer, row["prompt"], 5) for row in prompts]
    assert made.rows
    for row in made.rows:
        assert row["completion"] == [{"role": "assistant", "content": whole[row["row"]][2]}]
        assert row["model"] == f"{tmp_path / 'model'} ({row['checksum'][:12]})"
    for chain in made.chains:
        said = [chain["answer"], *(one[key] for one in chain["revisions"] for key in ("critique", "revision"))]
        said = [one for one in said if one is not None]
        assert said == whole[chain["row"]][: len(said)]
        assert len(said) == 3 or chain["problem"] in ("an empty answer", "no end within 60 tokens")
    one = revise(written(tmp_path, prompts[1:2]), principles, tmp_path / "o.jsonl", **options, base=base)
    assert one.chains[0]["answer"] == made.chains[1]["answer"]
    assert revise(written(tmp_path, prompts), principles, tmp_path / "r.jsonl", **options, base=base) == made


def test_a_model_without_a_template_writes_texts(tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "model", "llama", max_position_embeddings=400)
    prompts = [{"prompt": text} for text in tiny.sentences(8)]
    made = revise(
        written(tmp_path, prompts),
        ["good"],
        tmp_path / "r.jsonl",
        model=tmp_path / "model",
        max_new_tokens=60,
        base=BASE,
    )
    assert made.rows
    assert all(isinstance(row["completion"], str) and isinstance(row["prompt"], str) for row in made.rows)
    assert made.found["revised"] == len(made.rows) == 8 - made.found["unread"]
    ((name, dataset),) = sources.load_parts(str(tmp_path / "r.jsonl"))
    found = list(adapters.demonstrations(dataset, name, chat=False).examples)
    assert [one.prompt for one in found] == [row["prompt"] for row in made.rows]


def test_our_own_server_is_asked_like_any_other(tmp_path: Path) -> None:
    model = tiny.make_model("llama", max_position_embeddings=400)
    with serving(LanguagePolicy(model, tiny.make_chat_tokenizer("a"))) as server:
        prompts = [{"prompt": text} for text in ("the film", "very dull", "a great film", "not fine")]
        arguments = (written(tmp_path, prompts), ["good"], tmp_path / "r.jsonl")
        made = revise(*arguments, server=server.url, max_new_tokens=60, base=BASE)
        before = len(server.endpoints.requests)
        assert revise(*arguments, server=server.url, max_new_tokens=60, base=BASE) == made
        assert len([one for one in server.endpoints.requests[before:] if "chat" in str(one)]) == 0
    assert made.rows
    assert {row["model"] for row in made.rows} == {f"tiny at {server.url}/v1"}


def test_a_killed_run_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    """The process is killed at its eighth request: what is on disk is not asked again, all else is."""
    out, data = tmp_path / "r.jsonl", written(tmp_path)
    (tmp_path / "rules.yaml").write_text("- Be kind.\n- critique: Is it true?\n  revision: Make it true.\n")
    command = [sys.executable, "-m", "burnish", "constitution", "--part", "supervised", "--data", data, "--quiet"]
    process: list[subprocess.Popen[bytes]] = []

    def killing(seen: Seen) -> str:
        if len(server.requests) == 8:
            process[0].send_signal(signal.SIGKILL)
            process[0].wait(60)
        return says(seen)

    with judge_server(killing) as server:
        command += ["--principles", str(tmp_path / "rules.yaml"), "--server", server.url, "--out", str(out)]
        process.append(subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}))
        assert process[0].wait(120) == -signal.SIGKILL
        known = {one["key"] for one in rows(tmp_path / "r.calls.jsonl")}
        assert 4 <= len(known) < 18
        assert not out.exists()
        before = len(server.requests)
        made = revise(data, RULES, out, server=server.url, base=BASE)
        assert len(server.requests) - before == 18 - len(known)
        whole = revise(data, RULES, tmp_path / "whole.jsonl", server=server.url, base=BASE)
    assert made.rows == whole.rows
    assert len({one["key"] for one in rows(tmp_path / "r.calls.jsonl")}) == 18


def test_the_budget_holds_over_runs_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    """Seven requests are two prompts, and the answer to a third."""
    with judge_server(says) as server:
        arguments = (written(tmp_path), RULES, tmp_path / "r.jsonl")
        for _ in range(2):
            made = revise(*arguments, server=server.url, budget=7, base=BASE)
            found = made.found
            assert (len(server.requests), found["requests"], found["revised"], found["not_asked"]) == (7, 7, 2, 4)
            assert [chain["answer"] for chain in made.chains] == ["p0.0", "p1.0", "p2.0", None, None, None]
        assert revise(*arguments, server=server.url, budget=100, base=BASE).found["revised"] == 6
        assert len(server.requests) == 18


def test_tokens_that_the_server_counts_bound_the_requests(tmp_path: Path) -> None:
    """The first four answers, which are asked for at once, take all of the tokens."""

    def counted(seen: Seen) -> dict[str, Any]:
        return {"choices": [{"message": {"content": says(seen)}}], "usage": {"total_tokens": 100}}

    with judge_server(counted) as server:
        arguments = (written(tmp_path), RULES, tmp_path / "r.jsonl")
        made = revise(*arguments, server=server.url, budget_tokens=350, base=BASE)
        assert [chain["answer"] is not None for chain in made.chains] == [True] * 4 + [False] * 2
        assert (len(server.requests), made.found["tokens"], made.found["not_asked"]) == (4, 400, 6)
        assert revise(*arguments, server=server.url, budget_tokens=10**6, base=BASE).found["revised"] == 6
    assert len(server.requests) == 18


def test_what_cannot_be_used_is_kept_and_counted_and_not_asked_again(tmp_path: Path) -> None:
    """The critique of p1 is empty, and the revision of p2 is cut off."""

    def rule(seen: Seen) -> Any:
        said = says(seen)
        cut = said == "p2.1"
        content = "" if said == "why p1.0" else said
        return {"choices": [{"message": {"content": content}, "finish_reason": "length" if cut else "stop"}]}

    with judge_server(rule) as server:
        arguments = (written(tmp_path), RULES, tmp_path / "r.jsonl")
        made = revise(*arguments, server=server.url, max_new_tokens=9, base=BASE)
        assert revise(*arguments, server=server.url, max_new_tokens=9, base=BASE) == made
        assert len(server.requests) == 17
    assert [row["row"] for row in made.rows] == [0, 3, 4, 5]
    assert [made.found[key] for key in ("revised", "unread", "unread_calls", "not_asked")] == [4, 2, 2, 0]
    assert made.found["problems"] == {"an empty answer": 1, "no end within 9 tokens": 1}
    assert made.chains[1] == {
        "source": str(tmp_path / "prompts.jsonl"),
        "row": 1,
        "prompt": [{"role": "user", "content": "p1"}],
        "answer": "p1.0",
        "revisions": [],
        "problem": "an empty answer",
    }
    assert made.chains[2]["problem"] == "no end within 9 tokens"
    kept = [one for one in rows(tmp_path / "r.calls.jsonl") if one["outcome"] == "unread"]
    assert sorted(one["text"] for one in kept) == ["", "p2.1"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            429,
            r"the model ruler at .* failed \(HTTP 429: not now\): 0 answers are kept in .*r\.calls\.jsonl; give",
        ),
        (500, r"failed \(HTTP 500: not now\): 0 answers"),
        (b"<html>", r"failed \(the response is not JSON"),
        (b"", r"failed \(the response is not JSON"),
        ([], r"failed \(a reply without a message: \[\]\)"),
        (
            401,
            r"failed \(the server at .* refused the request \(HTTP 401: not now\): correct the key in the environment",
        ),
    ],
)
def test_a_server_that_does_not_answer_is_a_sentence_and_is_asked_again(
    tmp_path: Path, answer: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServedModel, "rest", lambda *_: None)
    broken = True

    def rule(seen: Seen) -> Any:
        if broken and isinstance(answer, int):
            raise Status(answer)
        return answer if broken else says(seen)

    with judge_server(rule) as server:
        arguments = (written(tmp_path), RULES, tmp_path / "r.jsonl")
        with pytest.raises(UserError, match=said):
            revise(*arguments, server=server.url, base=BASE)
        broken = False
        assert revise(*arguments, server=server.url, base=BASE).found["revised"] == 6


def test_revisions_that_say_nothing_new_are_counted(tmp_path: Path) -> None:
    """That of p1 is the first answer, that of p2 its critique."""

    def rule(seen: Seen) -> str:
        said = says(seen)
        return {"p1.1": "p1.0", "p2.1": "why p2.0"}.get(said, said)

    with judge_server(rule) as server:
        found = revise(written(tmp_path), RULES, tmp_path / "r.jsonl", server=server.url, base=BASE).found
    assert [found[key] for key in ("revised", "unchanged", "echoes")] == [6, 1, 1]
    assert found["characters"] == pytest.approx([4.0, (4 * 5 + 8) / 6])


def test_a_first_answer_may_be_cut_off(tmp_path: Path) -> None:
    def rule(seen: Seen) -> Any:
        said = says(seen)
        reason = "stop" if said.endswith(".1") else "length"
        return {"choices": [{"message": {"content": said}, "finish_reason": reason}]}

    with judge_server(rule) as server:
        assert (
            revise(written(tmp_path), RULES, tmp_path / "r.jsonl", server=server.url, base=BASE).found["revised"] == 6
        )


def test_a_key_is_sent_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_SERVER_TOKEN", "sesame")
    with judge_server(says, key="Bearer sesame") as server:
        address = server.url.replace("://", "://me:hidden@")
        revise(written(tmp_path), RULES, tmp_path / "r.jsonl", server=address, base=BASE)
    assert len(server.requests) == 18
    for path in tmp_path.iterdir():
        assert "sesame" not in path.read_text()
        assert "hidden" not in path.read_text()


def test_other_prompts_and_other_files_are_refused(tmp_path: Path) -> None:
    with judge_server(says) as server:
        revise(written(tmp_path, PROMPTS[:2]), RULES, tmp_path / "r.jsonl", server=server.url, base=BASE)
        with pytest.raises(UserError, match=r"r\.calls\.jsonl has calls about 2 prompts that are not in the data"):
            revise(written(tmp_path, PROMPTS[2:]), RULES, tmp_path / "r.jsonl", server=server.url, base=BASE)
        with pytest.raises(UserError, match=r"prompts\.jsonl is read by this command, which would write it"):
            revise(written(tmp_path), RULES, tmp_path / "prompts.jsonl", server=server.url, base=BASE)


def test_a_budget_that_finishes_nothing_leaves_the_rows_that_are_there(tmp_path: Path) -> None:
    with judge_server(says) as server:
        revise(written(tmp_path), RULES, tmp_path / "r.jsonl", server=server.url, base=BASE)
        files = sorted(tmp_path.glob("r.*"))
        before = {path: path.read_bytes() for path in files}
        with pytest.raises(
            UserError, match=r"^there is no row to write, and .*r\.jsonl stays as it is \(the budget is"
        ):
            revise(written(tmp_path), ["New."], tmp_path / "r.jsonl", server=server.url, budget=18, base=BASE)
        assert len(server.requests) == 18
    assert [path.name for path in files] == ["r.calls.jsonl", "r.chains.jsonl", "r.jsonl", "r.summary.json"]
    assert {path: path.read_bytes() for path in files} == before


def test_prompts_that_are_there_twice_are_counted_and_whether_a_message_is_trained_is_not_sent(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "train": False}]
    talk.append({"role": "user", "content": "p7"})
    with judge_server(lambda _: "so") as server:
        data = written(tmp_path, [{"prompt": talk}, {"prompt": "p0"}, {"prompt": talk}])
        made = revise(data, RULES, tmp_path / "r.jsonl", server=server.url, base=BASE)
    assert (made.found["prompts"], made.found["repeated"], len(made.rows)) == (2, 1, 2)
    assert len(server.requests) == 6
    assert all(set(one) == {"role", "content"} for seen in server.requests for one in seen.body["messages"])
    assert made.rows[0]["prompt"] == talk


def test_an_interrupted_run_ends_at_once_and_keeps_what_it_has(tmp_path: Path) -> None:
    """The run waits for a reply that does not come before it has ended, and after each failure of others."""
    (tmp_path / "rules.yaml").write_text("- Be kind.\n")
    command = [sys.executable, "-m", "burnish", "constitution", "--part", "supervised", "--data", written(tmp_path)]
    busy, over = threading.Event(), threading.Event()

    def rule(seen: Seen) -> Any:
        said = says(seen)
        if said == "p0.0":
            return said
        if said == "p1.0":
            over.wait(600)
        busy.set()
        raise Status(503)

    with judge_server(rule) as server:
        command += ["--principles", str(tmp_path / "rules.yaml"), "--server", server.url, "--server-timeout", "600"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        options: dict[str, Any] = {"env": environment, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*command, "--out", str(tmp_path / "r.jsonl"), "--quiet"], **options)
        assert busy.wait(120)
        while not (tmp_path / "r.calls.jsonl").read_text().count("\n"):  # the first answer is written as it comes
            time.sleep(0.01)
        time.sleep(1)  # until it is on disk, and counts
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=300)
        finally:
            over.set()
    assert process.returncode != 0
    assert "1 answers are kept in" in said
    assert "Traceback" not in said
    assert [one["text"] for one in rows(tmp_path / "r.calls.jsonl") if one["outcome"] == "read"] == ["p0.0"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--part supervised needs a --model that answers, or the URL of a --server"),
        ({"model": "m", "revisions": 0}, "--revisions must be at least 1, not 0"),
        ({"model": "m", "max_new_tokens": 0}, "--max-new-tokens must be at least 1, not 0"),
        ({"model": "m", "budget": 0}, "--budget must be at least 1, not 0"),
        ({"model": "m", "temperature": -1.0}, "--temperature must be 0, for the likeliest tokens, or at least"),
        ({"model": "m", "temperature": float("nan")}, "--temperature must be 0"),
        ({"server": "http://", "server_timeout": 1.0}, "--server http:// has no host"),
        ({"model": "m", "server_timeout": 0.0}, r"--server-timeout must lie in \(0, 86400\] seconds, not 0"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        revise(written(tmp_path), RULES, tmp_path / "r.jsonl", **options, base=BASE)
    assert not (tmp_path / "r.calls.jsonl").exists()
