"""Best of n on a tiny model, against the sampler and the reward called by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from burnish.cli import main
from burnish.config import Settings
from burnish.data import sources, tokenise
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import sample
from burnish.recipes.demo.measure import gold_judge
from burnish.recipes.sample import parts_of, sample_model
from burnish.recipes.sampled import describe
from burnish.rewards.completed import BadRewardError
from burnish.run import UserError

ROWS = [{"prompt": "a film", "weight": 1.0}, {"prompt": "the", "weight": -1.0}, {"prompt": "very dull", "weight": 1.0}]
PROMPTS = [[tiny.BOS, 7, 5], [tiny.BOS, 8], [tiny.BOS, 11, 15]]
BASE = Settings(seed=3, threads=1, quiet=True, device="cpu")
SHORT: dict[str, Any] = {"max_new_tokens": 6, "base": BASE}


def length(prompts: Any, responses: Any, weight: Any) -> list[float]:
    """The weight says whether long or short is good."""
    return [w * len(r.split()) for w, r in zip(weight, responses, strict=True)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model"), seed=1)  # its texts differ in length


def drawn(model: Path, n: int, temperature: float = 1.0) -> list[list[tuple[str, bool]]]:
    """n responses of each prompt and whether they ended, one at a time, each from its own stream."""
    policy = load_policy(model)
    out = []
    for i, ids in enumerate(PROMPTS):
        found = [
            sample(policy, [ids], seed=3, max_new_tokens=6, temperature=temperature, streams=[i * 2**20 + k])
            for k in range(n)
        ]
        out.append([(policy.tokenizer.decode(f.tokens[0], skip_special_tokens=True), f.ended[0]) for f in found])
    return out


def behind(response: str) -> str:
    """A response as it stands behind its prompt: words are separated by a space."""
    return f" {response}" if response else ""


def by_hand(model: Path, n: int, temperature: float = 1.0) -> list[list[str]]:
    return [[text for text, _ in row] for row in drawn(model, n, temperature)]


@pytest.mark.parametrize("keep", [False, True])
def test_special_tokens_of_the_template_are_kept_when_asked(
    keep: bool, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template writes "a" before each answer, and ends it with "plot"; the prompts are sampled one by one."""
    monkeypatch.setattr("burnish.recipes.sample.FIRST_ROWS", 1)
    folder = tiny.save_model(tmp_path / "model", seed=1)
    tiny.make_chat_tokenizer("a").save_pretrained(folder)
    rows = tiny.write_rows(tmp_path / "rows.jsonl", [{"prompt": "the"}] * 24)
    out = tmp_path / "out.jsonl"
    flag = ["--keep-special-tokens"] if keep else []
    given = ["sample", str(folder), "--data", str(rows), "--out", str(out), "--max-new-tokens", "8", "--device", "cpu"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*given, *flag, "--seed", "0"])
    found = [json.loads(line)["completion"].split() for line in out.read_text().splitlines()]
    policy = load_policy(folder)
    ids = tokenise.prompts(["the"] * 24, policy.tokenizer, 40)
    drawn = sample(policy, ids, seed=0, max_new_tokens=8, streams=[i * 2**20 for i in range(24)]).tokens
    assert sum(7 in row for row in drawn) > 1
    left_out = {1, 6} if keep else {0, 1, 2, 6, 7}  # the ends alone, or BOS, UNK and "a" too
    every = ("<s>", "</s>", "<unk>", *tiny.WORDS)
    assert found == [[every[token] for token in row if token not in left_out] for row in drawn]
    assert capsys.readouterr().err.count("warning: completions contain a, ") == (not keep)


def test_the_best_is_kept_and_written(model: Path, tmp_path: Path) -> None:
    found = sample_model(model, ROWS, 5, length, tmp_path / "new" / "best.jsonl", **SHORT)
    lines = [json.loads(line) for line in (tmp_path / "new" / "best.jsonl").read_text().splitlines()]
    assert lines == found.lines
    for i, pairs in enumerate(drawn(model, 5)):
        responses, ended = zip(*pairs, strict=True)
        scores = [ROWS[i]["weight"] * len(response.split()) for response in responses]
        k = scores.index(max(scores))
        assert (lines[i]["row"], lines[i]["prompt"]) == (i, ROWS[i]["prompt"])
        completion = behind(responses[k])
        assert (lines[i]["completion"], lines[i]["score"], lines[i]["ended"]) == (completion, scores[k], ended[k])
        assert lines[i]["mean_score"] == pytest.approx(sum(scores) / 5)
        assert found.scores["length"][i].tolist() == scores
        assert "gold" not in lines[i]


def test_the_summary_is_about_first_and_best(model: Path) -> None:
    summary = sample_model(model, ROWS, 5, length, **SHORT).summary
    scores = np.array(
        [[r["weight"] * len(t.split()) for t in ts] for r, ts in zip(ROWS, by_hand(model, 5), strict=True)]
    )
    assert summary["score"]["first"]["mean"] == pytest.approx(scores[:, 0].mean())
    assert summary["score"]["best"]["mean"] == pytest.approx(scores.max(1).mean())
    assert summary["score"]["gain"]["mean"] == pytest.approx((scores.max(1) - scores[:, 0]).mean())
    assert [point["n"] for point in summary["curve"]] == [1, 2, 4, 5]
    assert summary["curve"][0]["score"] == pytest.approx(scores.mean())
    assert summary["curve"][-1]["score"] == pytest.approx(scores.max(1).mean())
    assert summary["kl_upper_bound"] == pytest.approx(0.80944, abs=1e-5)  # log 5 − 4/5
    assert "at most 0.809 nats, the upper bound log n − (n − 1)/n" in describe(summary)
    json.dumps(summary)


def test_a_sample_does_not_depend_on_how_many_there_are(model: Path) -> None:
    """Nor on the other rows: a reward that likes the first sample best gives back what one sample alone is."""
    first = sample_model(model, ROWS, 1, **SHORT)
    assert [line["completion"] for line in first.lines] == [behind(responses[0]) for responses in by_hand(model, 1)]
    assert "score" not in first.lines[0]
    equal = sample_model(model, ROWS, 4, lambda p, r: [0.0] * len(r), limit=2, **SHORT)
    assert [line["completion"] for line in equal.lines] == [line["completion"] for line in first.lines[:2]]


def test_a_temperature_is_used(model: Path) -> None:
    found = sample_model(model, ROWS, temperature=0.5, **SHORT)
    assert [line["completion"] for line in found.lines] == [behind(one) for (one,) in by_hand(model, 1, 0.5)]
    assert found.lines != sample_model(model, ROWS, **SHORT).lines


def test_built_in_prefixes_have_their_gold_score_beside(tmp_path: Path) -> None:
    found = sample_model("builtin", "builtin", 2, "lexicon", limit=3, max_new_tokens=8, base=BASE)
    again = sample_model("builtin", "builtin", 2, "gold", limit=3, max_new_tokens=8, base=BASE)
    assert found.scores.keys() == {"lexicon", "gold"}
    assert again.scores.keys() == {"gold"}  # the judge is no second opinion on its own choice
    np.testing.assert_array_equal(found.scores["gold"], again.scores["gold"])
    for i, line in enumerate(found.lines):
        k = int(found.scores["lexicon"][i].argmax())
        assert line["gold"] == pytest.approx(found.scores["gold"][i, k], abs=1e-6)
        if line["ended"]:
            assert gold_judge().score([line["prompt"] + line["completion"]])[0] == pytest.approx(line["gold"], abs=1e-6)
    assert found.summary["gold"]["first"]["mean"] == pytest.approx(found.scores["gold"][:, 0].mean())
    assert "gold" in found.summary["curve"][0]
    assert "gold" not in again.summary
    alone = sample_model("builtin", "builtin", limit=3, max_new_tokens=8, base=BASE)
    np.testing.assert_array_equal(alone.scores["gold"][:, 0], found.scores["gold"][:, 0])
    assert alone.lines[0].keys() == {"row", "prompt", "completion", "gold", "ended"}
    assert "gold score: " in describe(alone.summary)


def test_a_reward_that_is_amiss_names_the_row(model: Path, tmp_path: Path) -> None:
    def broken(prompts: Any, responses: Any) -> list[float | None]:
        return [None if prompt == "the" else 0.0 for prompt in prompts]

    with pytest.raises(BadRewardError, match=r"broken returned None for row 1: "):
        sample_model(model, ROWS, 2, broken, tmp_path / "x.jsonl", **SHORT)
    assert not list(tmp_path.iterdir())


def test_only_what_can_be_imitated_is_picked_for_demonstrations(model: Path, tmp_path: Path) -> None:
    """Of completions that ended after a word at least the best; a prompt without one is left out, and counted."""
    found = sample_model(model, ROWS, 3, length, tmp_path / "best.jsonl", demonstrations=True, **SHORT)
    expected = []
    for i, pairs in enumerate(drawn(model, 3)):
        usable = [text for text, ended in pairs if ended and text]
        if usable:
            score, _, text = max((ROWS[i]["weight"] * len(text.split()), -k, text) for k, text in enumerate(usable))
            expected.append((i, behind(text), score))
    assert [(line["row"], line["completion"], line["score"]) for line in found.lines] == expected
    assert all(line["ended"] for line in found.lines)
    plain = sample_model(model, ROWS, 3, length, **SHORT)
    assert 0 < len(expected) < 3 == len(plain.lines)
    assert found.summary["left_out"] == 3 - len(expected)
    assert f"{3 - len(expected)} prompts left out, because no completion has an end" in describe(found.summary)
    assert plain.summary["left_out"] == 0
    assert found.summary["score"]["best"]["mean"] == pytest.approx(sum(s for *_, s in expected) / len(expected))
    firsts = [ROWS[i]["weight"] * len(by_hand(model, 1)[i][0].split()) for i, *_ in expected]
    assert found.summary["score"]["first"]["mean"] == pytest.approx(sum(firsts) / len(firsts))
    with pytest.raises(UserError, match="no completion has an end and a word before it: raise --max-new-tokens"):
        sample_model(model, ROWS, 2, length, demonstrations=True, **SHORT | {"max_new_tokens": 1})


def test_sft_learns_the_ids_that_the_policy_said(model: Path, tmp_path: Path) -> None:
    """From the file as it was written, through the reader of `burnish sft`: prompt, completion, one end."""
    sample_model(model, ROWS, 3, length, tmp_path / "best.jsonl", demonstrations=True, **SHORT)
    policy = load_policy(model)
    rows = tokenise.demonstrations(sources.load(tmp_path / "best.jsonl"), policy.tokenizer, 40, "best.jsonl")
    said = []
    for i, ids in enumerate(PROMPTS):
        streams = [i * 2**20 + k for k in range(3)]
        ours = sample(policy, [ids] * 3, seed=3, max_new_tokens=6, streams=streams).tokens
        usable = [row for row in ours if row[-1] == tiny.EOS and len(row) > 1]
        if usable:
            said.append(ids + max(usable, key=lambda row: ROWS[i]["weight"] * len(row)))
    assert [list(tokens) for tokens in rows.dataset["tokens"]] == said
    for tokens, mask, ids in zip(rows.dataset["tokens"], rows.dataset["mask"], said, strict=True):
        prompt = next(p for p in PROMPTS if ids[: len(p)] == p)
        assert mask == [False] * len(prompt) + [True] * (len(tokens) - len(prompt))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"keep": "best"}, "--keep best needs a --reward"),
        ({"n": 0}, r"--n must lie in 1…1048576, not 0"),
        ({"limit": 0}, "--limit must be at least 1, not 0"),
        ({"max_new_tokens": 48}, "--max-new-tokens 48 leaves no room for a prompt within 48 tokens"),
        ({"temperature": 0.0}, "temperature must be at least 0.0001, not 0.0"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_p": 1.5}, "top_p must lie above 0 and at most at 1, not 1.5"),
        ({"stop": ["film", ""]}, "--stop needs a text that is not empty"),
        ({"data": [{"text": "a"}]}, r"\(in memory\): prompts need `prompt`"),
        ({"out": "."}, r"--out \. is a folder: name a file"),
    ],
)
def test_what_cannot_be_asked_is_said(model: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        sample_model(model, **({"data": ROWS} | SHORT | given))


def test_without_a_reward_all_samples_are_kept(model: Path) -> None:
    """And with one, when asked: each with its own score."""
    found = sample_model(model, ROWS, 3, **SHORT)
    expected = [behind(response) for responses in by_hand(model, 3) for response in responses]
    assert [line["completion"] for line in found.lines] == expected
    assert [line["row"] for line in found.lines] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert "upper bound" not in describe(found.summary)
    scored = sample_model(model, ROWS, 3, length, keep="all", **SHORT)
    assert [line["completion"] for line in scored.lines] == expected
    lengths = [ROWS[line["row"]]["weight"] * len(line["completion"].split()) for line in scored.lines]
    assert [line["score"] for line in scored.lines] == lengths
    assert "mean_score" not in scored.lines[0]


def test_top_k_and_top_p_are_those_of_the_sampler(model: Path) -> None:
    """top_k = 1 takes the likeliest token whatever the temperature; so does a tiny top_p."""
    policy = load_policy(model)
    drawn = sample(policy, PROMPTS, seed=5, max_new_tokens=6, temperature=0.01).tokens
    greedy = [behind(policy.tokenizer.decode(ids, skip_special_tokens=True)) for ids in drawn]
    for knob in ({"top_k": 1}, {"top_p": 1e-9}):
        found = sample_model(model, ROWS, **knob, **SHORT)
        assert [line["completion"] for line in found.lines] == greedy
        assert found.summary.items() >= knob.items()


def test_a_stop_text_ends_a_completion_and_is_not_part_of_it(model: Path) -> None:
    """Texts that span two words, of the completions without it; a reward sees the same text, and the end is noted."""
    free = [behind(text) for (text,) in by_hand(model, 1)]
    first = free[0].split()
    stop = f"{first[0][-1]} {first[1][:2]}"  # the end of a word and the beginning of the next
    seen: list[str] = []

    def watching(prompts: Any, responses: Any) -> list[float]:
        seen.extend(responses)
        return [0.0] * len(responses)

    found = sample_model(model, ROWS, 1, watching, stop=[stop, "nowhere"], **SHORT)
    expected = [text.partition(stop)[0] for text in free]
    assert expected[0] != free[0]
    assert [line["completion"] for line in found.lines] == expected
    assert seen == [text.removeprefix(" ") for text in expected]
    reasons = [stop if stop in text else None for text in free]
    assert [line["stop_reason"] for line in found.lines] == reasons
    ended = [stopped is not None or own for stopped, ((_, own),) in zip(reasons, drawn(model, 1), strict=True)]
    assert [line["ended"] for line in found.lines] == ended
    assert "stop_reason" not in sample_model(model, ROWS, **SHORT).lines[0]


def test_a_model_that_rewards_reads_the_ids_before_the_stop_text_and_an_end(model: Path) -> None:
    """Whole words: the ids of the text with the prompt, then EOS."""
    policy = load_policy(model)
    (whole,) = sample(policy, PROMPTS[:1], seed=3, max_new_tokens=6, streams=[0]).tokens
    stop = policy.tokenizer.decode(whole[1:2])
    batches = []

    class Reading:
        name = "reading"

        def __call__(self, completed: Any) -> list[float]:
            batches.append(completed.batch)
            return [0.0] * len(completed)

    sample_model(model, ROWS[:1], 1, Reading(), stop=stop, **SHORT)
    assert batches[0].tokens.tolist() == [[*PROMPTS[0], whole[0], tiny.EOS]]
    assert batches[0].mask.tolist() == [[False] * 3 + [True] * 2]


def test_conversations_are_written_with_the_answer(model: Path, tmp_path: Path) -> None:
    """`burnish sft` learns the ids that were sampled; a column that templates read goes along, others do not."""
    folder = tiny.save_model(tmp_path / "model", seed=1)
    tiny.make_chat_tokenizer().save_pretrained(folder)
    asked = [{"role": "user", "content": "good film"}]
    rows = [
        {"messages": [*asked, {"role": "assistant", "content": "no"}], "tools": [{"name": "t"}], "other": 1},
        {"messages": [*asked, {"role": "assistant", "content": "no"}, {"role": "user", "content": "bad"}]},
    ]
    out = tmp_path / "talks.jsonl"
    found = sample_model(folder, rows, out=out, format="messages", **SHORT)
    for line, row in zip(found.lines, rows, strict=True):
        assert line["messages"][:-1] == asked
        assert line["messages"][-1].keys() == {"role", "content"}
        assert (line.get("tools"), "other" in line, "prompt" in line) == (row.get("tools"), False, False)
    policy = load_policy(folder)
    ids = tokenise.prompts([asked] * 2, policy.tokenizer, 40)
    ours = sample(policy, ids, seed=3, max_new_tokens=6, streams=[0, 2**20]).tokens
    read = tokenise.demonstrations(sources.load(out), policy.tokenizer, 40, "talks").dataset["tokens"]
    for tokens, prompt, said in zip(read, ids, ours, strict=True):
        words = [one for one in policy.ends.without(said) if one not in (0, 1, 2, 6)]
        assert list(tokens) == [*prompt, *words, 6]  # "plot" ends a turn


def test_a_plain_prompt_is_the_message_of_a_user(model: Path, capsys: pytest.CaptureFixture) -> None:
    found = sample_model(model, ROWS[:1], format="messages", max_new_tokens=6, base=replace(BASE, quiet=False))
    (said,) = by_hand(model, 1)[0]
    spoken = [{"role": "user", "content": "a film"}, {"role": "assistant", "content": said}]
    assert found.lines[0]["messages"] == spoken
    assert "the prompts are plain text: each becomes the message of a user" in capsys.readouterr().err


def test_an_empty_answer_is_no_message(tmp_path: Path) -> None:
    """Of forty some end at once; they are left out, and the others are read by `burnish sft`."""
    folder, out = tiny.save_model(tmp_path / "model", seed=1), tmp_path / "talks.jsonl"
    tiny.make_chat_tokenizer().save_pretrained(folder)
    rows = [{"prompt": [{"role": "user", "content": "a"}]}] * 40
    free = sample_model(folder, rows, temperature=5.0, **SHORT).lines
    empty = sum(not line["completion"] for line in free)
    found = sample_model(folder, rows, out=out, format="messages", temperature=5.0, **SHORT)
    said = [line["messages"][-1]["content"] for line in found.lines]
    assert said == [line["completion"] for line in free if line["completion"]]
    assert found.summary["left_out"] == empty > 0
    assert f"{empty} prompts left out, because no completion has a word" in describe(found.summary)
    assert len(tokenise.demonstrations(sources.load(out), tiny.make_chat_tokenizer(), 40, "talks")) == len(said)


def test_an_answer_that_was_begun_is_one_message(tmp_path: Path) -> None:
    folder = tiny.save_model(tmp_path / "model", seed=1)
    tiny.make_chat_tokenizer().save_pretrained(folder)
    begun = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "good "}]
    (line,) = sample_model(folder, [{"prompt": begun}], format="messages", **SHORT).lines
    assert [one["role"] for one in line["messages"]] == ["user", "assistant"]
    assert line["messages"][1]["content"].startswith("good ")
    assert len(line["messages"][1]["content"]) > len("good ")


def test_records_are_there_as_soon_as_they_are_ready(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four parts of one prompt, one, one and one: the file has the rows before the one that fails."""
    monkeypatch.setattr("burnish.recipes.sample.FIRST_ROWS", 1)
    monkeypatch.setattr("burnish.recipes.sample.ROWS_AT_ONCE", 1)
    shown: list[int] = []

    def late(prompts: Any, responses: Any) -> list[float]:
        assert len(prompts) == 1
        if prompts == ["very dull"]:
            assert shown == [0, 1]
            raise ValueError("no")
        return [1.0]

    with pytest.raises(BadRewardError, match=r"row 2 .*; the 2 rows before it are in .*x\.jsonl\.part"):
        sample_model(model, ROWS, 1, late, tmp_path / "x.jsonl", show=lambda line: shown.append(line["row"]), **SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl.part"]


def test_parts_double_up_to_the_most() -> None:
    assert [list(part) for part in parts_of(7, 1, 1)] == [[0], [1, 2], [3, 4, 5, 6]]
    assert [len(part) for part in parts_of(10, 4, 8)] == [2, 4, 4]
    assert [len(part) for part in parts_of(1100, 1, 512)] == [512, 512, 76]
    assert [len(part) for part in parts_of(2, 600, 512)] == [1, 1]
