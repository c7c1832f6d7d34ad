"""TL;DR data reduction (Wang et al., ICCV 2023) as a plugin of Salesforce LAVIS 1.0.2.

Once this package has been imported, LAVIS knows its models, datasets, tasks and runners: they are registered as soon as
LAVIS is imported (at once, where it has been). What does without LAVIS (keep-lists, ledgers, reports, exports) works
where LAVIS is not installed, and does not import it where it is.
"""

from lavis_tldr.registration import register, register_when_needed

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "register"]

register_when_needed()
