"""What became of a sample (`why`) as text for a terminal."""

from __future__ import annotations

from lavis_tldr.report.reasons import describe_rank
from lavis_tldr.report.texts import entry, printable, quoted
from lavis_tldr.report.units import count, number, ordinal, place, size


def why_lines(facts: dict) -> list[str]:
    """Lines for ``facts``."""
    source = facts["source"]
    lines = entry("key", printable(facts["key"]), 0)
    if source["image_key"] != facts["key"]:
        lines += entry("image", f"{printable(source['image_key'])}, which other captions share")
    lines += entry("source", f"part {printable(source['part'])}; {_place(source)}")
    if source["error"]:
        lines += entry("error", printable(source["error"]))
    lines += entry("caption", quoted(source["caption_original"]))
    if facts["scores"]:
        lines += entry("scores", ", ".join(f"{name} {number(value)}" for name, value in facts["scores"].items()))
    if not facts["recipes"]:
        lines += entry("recipes", "none has begun yet", 0)
    for name, account in facts["recipes"].items():
        lines += ["", *_recipe_lines(name, account)]
    return lines


def _place(source: dict) -> str:
    path = source["image_path"]
    if not path:
        return "no image"
    if source["image_offset"] is None or source["image_offset"] < 0:
        return printable(path)
    return f"{printable(path)}, {size(source['image_size'])} at byte {count(source['image_offset'])}"


def _recipe_lines(name: str, account: dict) -> list[str]:
    verdict = {True: "KEPT", False: "not kept", None: "not decided yet"}[account["kept"]]
    lines = entry("recipe", f"{printable(name)}: {verdict}", 0)
    if account["reason"] is not None:
        lines += entry("why", account["explanation"])
    if cluster := account["cluster"]:
        of = f" of {count(cluster['of'])}" if cluster["of"] else ""
        kept = f", {count(cluster['kept'])} kept" if cluster["kept"] is not None else ""
        quota = f" (quota {count(cluster['quota'])})" if cluster["quota"] is not None else ""
        lines += entry("cluster", f"{cluster['id']}{of}: {count(cluster['size'])} samples{kept}{quota}")
        lines += entry("distance", _distance(account, cluster["size"]))
    if alignment := account["alignment"]:
        rank = f"{place(alignment['rank'], 'best')} of {count(alignment['of'])}"
        lines += entry("alignment", f"{number(alignment['value'])}, {rank}")
    if (score := account["score"]) and score["by"] != "aligned":
        rank = f"{describe_rank(score['by'], score['rank'])} of {count(score['of'])}"
        lines += entry("score", f"{number(score['value'])}, {rank}")
    if account["understudy"]:
        lines += entry(
            "understudy", f"{ordinal(account['understudy'])} in line if an image of its cluster goes missing"
        )
    captions = account["captions"]
    if captions["generated"] is not None:
        lines += entry("generated", quoted(captions["generated"]))
    if captions["final"] is not None:
        lines += entry("final", f"{quoted(captions['final'])} ({captions['explanation']})")
    return lines


def _distance(account: dict, cluster_size: int) -> str:
    distance, cosine = account["distance"], account["prototype_distance"]
    rank = f"{place(distance['rank'], 'nearest')} of {count(cluster_size)}"
    by_cosine = "" if cosine is None else f"; by cosine {number(cosine)}"
    return f"{number(distance['value'])} to the centroid (squared L2), {rank}{by_cosine}"
