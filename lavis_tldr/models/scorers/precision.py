"""In which precision scores are computed."""

import torch


def full_precision(device: torch.device) -> torch.autocast:
    """Within it there is no autocast: rounded to its 8 bits many scores would tie, and a tie counts as lost."""
    return torch.autocast(device.type, enabled=False)
