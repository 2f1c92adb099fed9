"""What the page of `burnish study overoptimise` says: nothing that its intervals do not support."""

from collections.abc import Mapping
from typing import Any

from burnish.report import wording


def proxy_name(labels: int) -> str:
    """A proxy for readers, by what it has learned from."""
    return f"{labels:,} labels"


def title_of(found: Mapping[str, Any]) -> str:
    """In how many optimisations gold is shown to fall."""
    known = [row for row in found["rows"] if decided(row)]
    if not known:
        return "Gold against proxy: nothing can be said of fewer than two seeds"
    falls = sum(wording.verdict(row["fall"]) == "better" for row in known)
    return f"Gold against proxy: gold is seen to fall in {falls} of {len(known)} optimisations"


def decided(row: Mapping[str, Any]) -> bool:
    """Whether a row has intervals."""
    return row["fall"]["low"] is not None


def result_sentences(found: Mapping[str, Any]) -> list[str]:
    """The main results, optimisation by optimisation."""
    lines = []
    if (start := found["start"]) is not None:
        lines.append(
            f"{start['pairs']:,} pairs of the start's completions were labelled; "
            f"{wording.percent(start['agreed'])} of the labels agree with the judge's scores, the others are noise. "
            "Gains are scores less the start's; what a proxy claims is its score times the scale of the labels, and so "
            "in points of the gold judge. In parentheses are 95 % intervals over seeds and prefixes."
        )
    known = [row for row in found["rewards"] if row["correct"]]
    if known:
        shares = [f"{proxy_name(row['labels'])} {share(row['correct'])}" for row in known]
        lines.append(f"Held-out pairs that reward models order as the gold judge does: {wording.listed(shares)}.")
    lines += [row_sentence(found, row) for row in found["rows"] if decided(row)]
    lines += [difference_sentence(found, one) for one in found["differences"]]
    seeds = [row["seeds"] for row in found["rows"]]
    if not seeds or min(seeds) < 2:
        lines.append(
            "Of fewer than two seeds there is no interval: points and fits are shown, and nothing is said of them."
        )
    elif found["plan"]["seeds"] < 5:
        lines.append(
            f"The intervals are over {found['plan']['seeds']} seeds of training from one start and over prefixes: they "
            "are rather too narrow, and say nothing of other starts. The forms are those of Gao et al. (2022); that "
            "one is fitted does not show that it is the right one."
        )
    return lines


def share(one: Mapping[str, Any]) -> str:
    ends = wording.range_of(one, 1, shares=True)
    return wording.percent(one["mean"], 1) + (f" ({ends})" if ends else "")


def gain(one: Mapping[str, Any], signed: bool = True) -> str:
    """A gain with its interval, in points of the judge."""
    return f"{wording.number(one['mean'], 2, signed)} ({wording.range_of(one, 2, signed)})"


def row_sentence(found: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What a method does to gold by one proxy, as far as its intervals go."""
    who = f"{found['methods'][row['method']]}, {proxy_name(row['labels'])}"
    said = f"{who}, as far as {point_of(row, row['last'])}: the proxy claims {gain(row['claimed'])}, gold is "
    said += f"{gain(row['end'])}. {fall_sentence(row)}"
    return f"{said} {peak_sentence(row)}" if row["fit"] else said


def point_of(row: Mapping[str, Any], step: int) -> str:
    return f"n = {step}" if row["method"] == "best_of_n" else f"update {step}"


def fall_sentence(row: Mapping[str, Any]) -> str:
    """Whether the measurements show that gold has fallen from its highest point."""
    top = wording.listed([point_of(row, step) for step in row["best"]])
    if row["best"] == [row["last"]]:
        return "Gold is highest at the last measurement: no fall is seen."
    verdict = wording.verdict(row["fall"])
    if verdict == "better":
        return f"Gold has fallen by {gain(row['fall'], signed=False)} since it was highest, at {top}."
    if verdict == "worse":
        return f"No fall is seen: the last measurement is above that of {top}."
    return f"Whether gold has fallen since {top} is undecided: by {gain(row['fall'])}."


def peak_sentence(row: Mapping[str, Any]) -> str:
    """Whether the fitted form has its peak within the distances that were reached."""
    peak, far = row["fit"]["peak"], wording.number(row["far"])
    where = "nowhere" if peak["mean"] is None else f"at d = {wording.number(peak['mean'])}"
    ends = peak_range(peak)
    said = {
        "yes": f"The fit peaks {where} ({ends}), before the end, d = {far}.",
        "no": f"The fit does not peak before the end, d = {far} (its peak: {ends}).",
        "undecided": f"The fit peaks {where} ({ends}): whether before the end, d = {far}, is undecided.",
    }
    return said.get(str(row["fit"]["within"]), "")


def peak_range(peak: Mapping[str, Any]) -> str:
    """The interval of a peak, which may be infinitely far."""
    if peak["low"] is None:
        return "none at any distance"
    if peak["high"] is None:
        return f"{wording.number(peak['low'])} or farther"
    return wording.range_of(peak)


def difference_sentence(found: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """What more labels change, by one method."""
    words = {"better": "higher", "worse": "lower", "undecided": "undecided, the interval contains zero"}
    said = (
        f"{found['methods'][one['method']]}, {one['many']:,} labels minus {one['few']:,}: gold at the end "
        f"{gain(one['end'])}, {words[wording.verdict(one['end'])]}"
    )
    beta = one["beta"]
    if beta is None or beta["low"] is None:
        return f"{said}."
    said += f"; β {gain(beta)}, {words[wording.verdict(beta)]}"
    gao = "Gao et al. (2022), where it falls with the amount of data"
    agrees = {"worse": f". The last agrees with {gao}", "better": f". The last disagrees with {gao}"}
    return said + agrees.get(wording.verdict(beta), "") + "."


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What is missing, what failed and what diverged, a sentence each."""
    lines = []
    if found["missing"]:
        count = len(found["missing"])
        some = wording.listed([*found["missing"][:6], *([f"{count - 6} more"] if count > 6 else [])])
        lines.append(f"Missing so far: {some}. The same command with --resume computes them.")
    lines += [f"{label} failed: {reason}" for label, reason in found["failures"].items()]
    lines += [
        f"{one['label']}, diverged at step {one['step']}: what was measured before is shown."
        for one in found["diverged"]
    ]
    return lines
