"""TL;DR data reduction (Wang et al., ICCV 2023) as a plugin of Salesforce LAVIS 1.0.2.

Importing this package registers its models, datasets, tasks and runners with LAVIS. The package's own
commands (``lavis-tldr ...``, ``python -m lavis_tldr...``) register when they come to need LAVIS instead, so
that ``lavis-tldr doctor`` also works where LAVIS cannot be imported.
"""

from lavis_tldr.registration import is_own_command, register, registration_is_off

__version__ = "0.1.0"
__all__ = ["__version__", "register"]

if not registration_is_off() and not is_own_command():
    register()
