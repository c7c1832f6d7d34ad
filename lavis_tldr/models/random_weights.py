"""How networks without weights to start from are started."""

from torch import nn

NARROW = 256  # networks below this width have no published weights, and start otherwise


def spread_random_weights(module: nn.Module) -> None:
    """Xavier weights for a narrow network that starts random; weights shared with an embedding stay.

    A spread of 0.02, BERT's and LAVIS's, suits a width of 768. At a width of 64 layers then pass on next to nothing:
    captions tell no colours for thousands of steps, and 16 pairs that are matched without a fault after 50 steps are
    not after 200.
    """
    shared = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and id(layer.weight) not in shared:
            nn.init.xavier_uniform_(layer.weight)
