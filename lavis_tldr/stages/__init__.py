"""The stages of a reduction, one a file, in the order in which data goes through them.

Each has `stage_of(context)`, its folder with what decides its outcome, and `run(context, stage)`, which reads the files
of the stages before it and writes its own into the open stage.
"""

from lavis_tldr.stages import build, caption, cluster, encode, gradient, ledger, refine, repair, score, select

# Name -> the module that runs it.
STAGES = {
    "encode": encode,
    "caption": caption,
    "score": score,
    "gradient": gradient,
    "cluster": cluster,
    "select": select,
    "refine": refine,
    "repair": repair,  # only where images were lost since
    "ledger": ledger,
    "build": build,
}

# Name -> the stages whose files it is made from.
_MADE_FROM = {
    "caption": ("encode",),
    "score": ("encode", "caption"),
    "gradient": ("encode",),
    "cluster": ("encode",),
    "select": ("cluster", "score", "gradient"),
    "refine": ("select", "score", "caption"),
    "repair": ("refine",),
    "ledger": ("refine", "repair"),
    "build": ("ledger",),
}


def made_from(names: tuple[str, ...], scores_use_captions: bool) -> list[str]:
    """These stages and all that are made from them, directly or not, in order.

    Args:
        names: Of the stages.
        scores_use_captions: Whether scores are made from generated captions; other scores survive new captions.
    """
    found = set(names)
    for name, before in _MADE_FROM.items():
        links = found if name != "score" or scores_use_captions else found - {"caption"}
        if links.intersection(before):
            found.add(name)
    return [name for name in STAGES if name in found]
