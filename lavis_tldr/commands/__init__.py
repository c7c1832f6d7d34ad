"""The commands of ``lavis-tldr``, a file for each group: their arguments, and what they hand them to.

Each file has ``add_commands(commands)``. It imports what a command needs only when the command runs, so that
``--help`` and the commands without a model answer at once.
"""

from lavis_tldr.commands import (
    ablations,
    advice,
    checkpoints,
    costs,
    downstream_data,
    drawn_sets,
    environment,
    evaluation,
    reduced_sets,
    reports,
    training,
)

GROUPS = (
    training,
    evaluation,
    downstream_data,
    checkpoints,
    reports,
    reduced_sets,
    ablations,
    advice,
    costs,
    drawn_sets,
    environment,
)
