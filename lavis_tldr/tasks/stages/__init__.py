"""The stages of a reduction, one a file, in the order in which data goes through them.

Each has `stage_of(context)`, its folder with what decides its outcome, and `run(context, stage)`, which reads the files
of the stages before it and writes its own into the open stage.
"""

from lavis_tldr.tasks.stages import build, cluster, encode, ledger, refine, repair, score, select

# Name -> the module that runs it.
STAGES = {
    "encode": encode,
    "cluster": cluster,
    "score": score,
    "select": select,
    "refine": refine,
    "repair": repair,  # only where images were lost since
    "ledger": ledger,
    "build": build,
}
