"""What the page of `burnish study overoptimise` says: nothing that its intervals do not support."""

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.report import wording
from burnish.report.language.gaps import never_computed, notes


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
        most = max(found["plan"]["labels"])
        lines.append(
            f"Labels are drawn of {start['pairs']:,} pairs of the start's completions; one agrees with the judge's "
            f"scores with a probability of {wording.percent(start['agreed'])}, otherwise it is noise. Each seed draws "
            f"its own: of the pairs of one seed's {most:,} labels {wording.percent(min(1.0, most / start['pairs']))} "
            "are expected among those of another. Gains are scores less the start's; what a proxy claims is its score "
            "times the scale of the labels, and so in points of the gold judge. In parentheses are 95 % intervals over "
            "seeds and prefixes."
        )
    known = [row for row in found["rewards"] if row["correct"]]
    if known:
        shares = [f"{proxy_name(row['labels'])} {share(row['correct'])}" for row in known]
        lines.append(f"Held-out pairs that reward models order as the gold judge does: {wording.listed(shares)}.")
        own = [f"{proxy_name(row['labels'])} {wording.percent(row['fitted'])}" for row in known]
        lines.append(f"Labels that reward models have learned from and order as they say: {wording.listed(own)}.")
    lines += [row_sentence(found, row) for row in found["rows"] if decided(row)]
    lines += [difference_sentence(found, one) for one in found["differences"]]
    return lines + caveats([row["compared"] for row in found["rows"]])


def caveats(seeds: Sequence[int]) -> list[str]:
    """What the rows' numbers of seeds allow to say."""
    lines, enough = [], [one for one in seeds if one >= 2]
    if len(enough) < max(1, len(seeds)):
        lines.append(
            "Of fewer than two seeds there is no interval: points and fits are shown, and nothing is said of them."
        )
    if enough and min(enough) < 5:
        count = f"{min(enough)}" if min(enough) == max(enough) else f"{min(enough)} to {max(enough)}"
        lines.append(
            f"The intervals are over {count} seeds of training from one start, which share pairs, and over prefixes: "
            "they are rather too narrow, and say nothing of other starts. The forms are those of Gao et al. (2022); "
            "that one is fitted does not show that it is the right one."
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
    said = f"{who}, {end_of(row, row['last'])} ({reach_of(row)}{shortened(row)}): the proxy claims "
    said += f"{gain(row['claimed'])}, gold is {gain(row['end'])}. {fall_sentence(row)}"
    return f"{said} {peak_sentence(row)}" if row["fit"] else said


def point_of(row: Mapping[str, Any], step: int) -> str:
    return f"n = {step}" if row["method"] == "best_of_n" else f"update {step}"


def end_of(row: Mapping[str, Any], step: int) -> str:
    """Where the seeds are compared: their last shared point."""
    return ("at " if row["method"] == "best_of_n" else "after ") + point_of(row, step)


def reach_of(row: Mapping[str, Any]) -> str:
    """The distances there, which differ between seeds."""
    ends = [wording.number(one) for one in row["reached"]]
    return "d = " + (ends[0] if ends[0] == ends[1] else " to ".join(ends))


def shortened(row: Mapping[str, Any]) -> str:
    """Which seeds are left out, or end the comparison, because they diverged."""
    if row["without"]:
        return f"; without {seeds_of(row['without'])}, which diverged before"
    return f"; the last point before {seeds_of(row['cut'])} diverged" if row["cut"] else ""


def seeds_of(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + wording.listed(list(map(str, seeds)))


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
    """Whether the fitted form has its peak within the distances that all seeds reach."""
    peak, far = row["fit"]["peak"], f"d = {wording.number(row['far'])}, which all seeds reach"
    where = "nowhere" if peak["mean"] is None else f"at d = {wording.number(peak['mean'])}"
    ends = peak_range(peak)
    said = {
        "yes": f"The fit peaks {where} ({ends}), before {far}.",
        "no": f"The fit does not peak before {far} (its peak: {ends}).",
        "undecided": f"The fit peaks {where} ({ends}): whether before {far}, is undecided.",
    }
    falls = row["fit"]["alpha"]["mean"] < 0 and row["fit"]["beta"]["mean"] <= 0
    found = said.get(str(row["fit"]["within"]), "")
    return f"The fit falls from the start. {found}" if falls and found else found


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
    where = f"{end_of(one, one['last'])}, {one['seeds']} seeds"
    who = f"{found['methods'][one['method']]}, {one['many']:,} labels minus {one['few']:,}"
    said = f"{who}, {where}: gold {gain(one['end'])}, {words[wording.verdict(one['end'])]}"
    for name, symbol in (("alpha", "α"), ("beta", "β")):
        if one[name] is not None and one[name]["low"] is not None:
            said += f"; {symbol} {gain(one[name])}, {words[wording.verdict(one[name])]}"
    gao = "in Gao et al. (2022) more data give more gold"
    agrees = {"better": f". The first agrees with the literature: {gao}", "worse": f". The first disagrees: {gao}"}
    return said + agrees.get(wording.verdict(one["end"]), "") + "."


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
    return lines + never_computed(found["stopped"])


def figure_notes(found: Mapping[str, Any], method: str) -> list[str]:
    """What a method's figure by itself says of what it does not have."""
    gaps, planned = found["gaps"][method], found["plan"]["seeds"]
    there = {row["labels"]: row["seeds"] for row in found["rows"] if row["method"] == method}
    counts = {labels: there.get(labels, 0) for labels in found["plan"]["labels"]}
    fewer = [f"{proxy_name(labels)}, {n} of {planned} seeds" for labels, n in counts.items() if n < planned]
    return notes(gaps["missing"], gaps["failed"], gaps["stopped"], gaps["diverged"], fewer)


SIGNALS = {
    "length": "length",
    "repetition": "repetition",
    "distinct_2": "distinct-2",
    "entropy": "entropy",
    "disagreement": "disagreement of reward models",
    "gap": "the reward's claim less the labels'",
    "own_gap": "its own labels' claim less the trusted ones'",
    "any": "at least one",
}
"""The monitor's signals for readers."""


WATCHED = {"ppo": "PPO", "online_dpo": "Online DPO", "dpo": "DPO"}
"""The methods that the monitor watches, for readers."""


def monitor_sentences(found: Mapping[str, Any]) -> list[str]:
    """What the rates of the monitor are computed from."""
    monitor = found.get("monitor")
    if not monitor or not monitor["rows"]:
        return []
    lines = [
        "A run is hacked where gold has fallen since it was highest, with a 95 % interval over prefixes above 0, and "
        "the proxy claims more than it did there; clean where gold has not fallen so; and neither where gold has "
        "fallen and the claim with it. A signal detects a hacked run where it warns after gold was highest. A warning "
        "of a clean run is a false alarm; one of another run up to its highest gold is early. The thresholds are the "
        "defaults, which were chosen before this study was run."
    ]
    counts = [
        f"of {one['runs']} runs of {WATCHED[one['method']]} {one['hacked']} are hacked, {one['clean']} clean and "
        f"{one['runs'] - one['hacked'] - one['clean']} neither"
        for one in monitor["counts"]
    ]
    said = "; ".join(counts)
    lines.append(f"{said[0].upper()}{said[1:]}.")
    lines.append(wilson(monitor["rows"]))
    for key, what in (("hacked", "detection"), ("clean", "false alarms")):
        if none := [WATCHED[one["method"]] for one in monitor["counts"] if not one[key]]:
            lines.append(f"Without a {key} run nothing is said of {what}: {wording.listed(none)}.")
    return lines


def wilson(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the intervals of the rates are, and which rates have none."""
    shares = [one[key] for one in rows for key in ("detected", "false", "early") if one[key] is not None]
    known = [one for one in shares if one["low"] is not None]
    lines = []
    if known:
        lines.append(
            "In parentheses are Wilson's 95 % intervals, as if runs were independent draws; they share the start, the "
            "prefixes and pairs, so that the intervals are too narrow."
        )
    if len(known) < len(shares):
        lines.append("Where runs are of fewer than two seeds there is no interval.")
    return " ".join([*lines, "A run counts once, however often it is measured."])


def monitor_rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row of words per method and signal."""
    rows = (found.get("monitor") or {"rows": []})["rows"]
    return [
        {
            "method": WATCHED[one["method"]],
            "signal": SIGNALS.get(one["signal"], one["signal"]),
            "threshold": one["threshold"] or "–",
            "detected": rate_of(one["detected"], one["hacked"]),
            "false": rate_of(one["false"], one["clean"]),
            "early": rate_of(one["early"], one["before"]),
            "delay": "–" if one["delay"] is None else wording.number(one["delay"], 0),
        }
        for one in rows
    ]


def rate_of(one: Mapping[str, Any] | None, runs: int) -> str:
    """A share of runs with its interval, if it has one, as "2 of 3 (21 to 94 %)"."""
    if one is None:
        return "no run"
    ends = wording.range_of(one, 0, shares=True)
    return f"{round(one['mean'] * runs)} of {runs}" + (f" ({ends})" if ends else "")
