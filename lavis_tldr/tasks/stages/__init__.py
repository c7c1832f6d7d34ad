"""The stages of a reduction, one a file, in the order in which data goes through them.

Each is a function ``run(context)`` that reads the files of the stages before it and writes its own.
"""

from lavis_tldr.tasks.stages import build, cluster, encode, refine, score, select

# Name -> the module that runs it.
STAGES = {
    "encode": encode,
    "cluster": cluster,
    "score": score,
    "select": select,
    "refine": refine,
    "build": build,
}
