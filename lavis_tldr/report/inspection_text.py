"""The facts of a run (`inspect_run`) as text for a terminal."""

from __future__ import annotations

from statistics import median

from lavis_tldr.report.inspection import DONE, INCOMPLETE, NOT_BEGUN
from lavis_tldr.report.wording import count, duration, entry, label, printable, rate, settings, share, size, table

_SLOWEST = 3
_DIGITS = 12  # of a digest: enough to tell two apart


def inspection_lines(facts: dict, with_parts: bool = False) -> list[str]:
    """Lines for ``facts``; ``with_parts`` adds a table of each stage's parts."""
    lines = entry("run", facts["run"], 0)
    lines += entry("package", f"lavis_tldr {', '.join(facts['package_versions'])}", 0)
    lines += entry("sets", printable(", ".join(facts["sets"])) or "none yet", 0)
    digests = _part_digests(facts["stages"]["encode"])
    for name, stage in facts["stages"].items():
        lines += _stage_lines(name, stage, digests if with_parts else None)
    for set_name, its in facts["sets"].items():
        lines += ["", printable(f"set {set_name}")]
        lines += entry("config", its["config"] or "not kept")
        lines += entry("uses", printable(", ".join(its["uses"])))
        for name, stage in its["stages"].items():
            lines += _stage_lines(name, stage, digests if with_parts else None)
        if its["next"]:
            lines.append(label("to do", 0) + its["next"])  # in one line, to be copied
        if repairs := its["repairs"]:
            lost = f"{count(repairs['lost'])} kept image{'' if repairs['lost'] == 1 else 's'} lost since"
            told = (
                f"{lost}: {count(repairs['replaced'])} replaced, {count(repairs['without_stand_in'])} without stand-in"
            )
            lines += entry("repaired", told, 0)
        if its["summary"]:
            lines += _summary_lines(its["summary"])
    return lines


def verification_lines(verified: dict) -> list[str]:
    """Lines for what `verify_run` found."""
    files = _files(verified)
    changed = verified["changed"]
    if not changed:
        return entry("verified", f"{files}: all as their manifests say", 0)
    lines = entry("verified", f"{files}: {count(len(changed))} changed since their stage finished", 0)
    return lines + [f"  {printable(path)} {change}" for path, change in changed.items()]


def _stage_lines(name: str, stage: dict, digests: dict[str, str] | None) -> list[str]:
    name, _, variant = name.partition("/")
    lines = entry(name, f"{printable(variant)}: {_state(stage)}" if variant else _state(stage), 0)
    if stage["state"] == NOT_BEGUN:
        return lines
    if stage["changed_inputs"]:
        lines += entry("CHANGED", f"{', '.join(stage['changed_inputs'])} made anew or altered since: run reduce again")
    lines += entry("config", settings(stage["config"]) or "none")
    lines += entry("inputs", _inputs(stage["inputs"]) or "none")
    if digests is not None:
        lines += _parts_table(stage["parts"], digests)
    elif slowest := _slowest(stage["parts"]):
        lines += entry("slowest", slowest)
    return lines


def _state(stage: dict) -> str:
    state = stage["state"]
    if state == NOT_BEGUN:
        return state
    if state == INCOMPLETE:
        missing = stage["missing"]
        return (
            f"{state}: {count(len(missing))} of {count(stage['files'])} files are gone (first: {printable(missing[0])})"
        )
    outputs = _files(stage)
    if state == DONE:
        counts = ", ".join(f"{name} {count(value)}" for name, value in _ordered(stage["counts"]))
        time = duration(stage["seconds"]) + (f" ({rate(stage['rate'])})" if stage["rate"] else "")
        return "; ".join(filter(None, [f"{state} in {time}", counts, outputs]))
    of = f" of {count(stage['num_parts'])}" if stage["num_parts"] else ""
    missing = f"; first missing: {printable(stage['missing'][0])}" if stage["missing"] else ""
    return f"{state}: {count(len(stage['parts']))}{of} parts done, {outputs}{missing}"


def _files(of: dict) -> str:
    return f"{count(of['files'])} file{'' if of['files'] == 1 else 's'}, {size(of['bytes'])}"


def _ordered(counts: dict) -> list[tuple[str, int]]:
    """What went in first, then the rest as it is."""
    return sorted(counts.items(), key=lambda item: item[0] != "read")


def _inputs(inputs: dict[str, str]) -> str:
    parts = [name for name in inputs if name.startswith("part ")]
    told = [f"{name} {digest[:_DIGITS]}" for name, digest in inputs.items() if name not in parts]
    return ", ".join(told + ([f"{count(len(parts))} source parts"] if parts else []))


def _part_digests(encode: dict) -> dict[str, str]:
    inputs = encode.get("inputs", {})
    return {name.removeprefix("part "): digest for name, digest in inputs.items() if name.startswith("part ")}


def _slowest(parts: dict[str, dict]) -> str:
    timed = sorted(
        ((part["seconds"], name) for name, part in parts.items() if part.get("seconds")),
        key=lambda item: (-item[0], item[1]),
    )
    if len(timed) < 2 or timed[0][0] < 1:  # nothing to look into
        return ""
    shown = ", ".join(f"{printable(name)} {duration(seconds)}" for seconds, name in timed[:_SLOWEST])
    return f"{shown} (median of {count(len(timed))} parts {duration(median(seconds for seconds, _ in timed))})"


def _parts_table(parts: dict[str, dict], digests: dict[str, str]) -> list[str]:
    """A row a part: what was counted, its time and rate, and the digest of the source's part."""
    counted = list(dict.fromkeys(name for part in parts.values() for name in part if name != "seconds"))
    rows = []
    for name, part in parts.items():
        seconds = part.get("seconds")
        rows.append(
            [
                printable(name),
                *(count(part[what]) if what in part else "-" for what in counted),
                duration(seconds) if seconds is not None else "-",
                rate(part["read"] / seconds) if seconds and part.get("read") else "-",
                digests.get(name, "-")[:_DIGITS],
            ]
        )
    return table(["part", *counted, "time", "rate", "source digest"], rows) if rows else []


def _summary_lines(summary: dict) -> list[str]:
    lines = []
    if counts := summary.get("counts"):
        outcome = f"{count(counts['read'])} read: {count(counts['kept'])} kept ({share(counts['kept_share'])})"
        if "drawn" in counts:
            outcome += f", drawn {count(counts['drawn'])} times"
        for what in ("dropped", "failed"):
            whys = counts[what]
            outcome += f", {count(sum(whys.values()))} {what}"
            if whys:
                outcome += " (" + ", ".join(f"{printable(why)} {count(n)}" for why, n in whys.items()) + ")"
        lines += entry("outcome", outcome, 0)
        origins = ", ".join(f"{name.replace('_', ' and ')} {count(n)}" for name, n in counts["caption_from"].items())
        lines += entry("captions", origins or "none", 0)
        if sizes := counts.get("cluster_sizes"):
            lines += entry(
                "clusters",
                f"{count(sizes['clusters'])} ({count(sizes['empty'])} empty) of {count(sizes['min'])} to "
                f"{count(sizes['max'])} samples, median {sizes['median']:,g}",
                0,
            )
    if codebook := summary.get("codebook"):
        lines += entry(
            "codebook",
            f"perplexity {codebook['perplexity']:,g} of {count(codebook['num_codes'])}, "
            f"{count(codebook['dead_codes'])} dead",
            0,
        )
    return lines
