"""What stock LAVIS would find out in mid-training, or never, looked at before a run starts.

``check_files`` before anything is built, ``hub_errors_explained`` around building, ``check_parts`` before the first
step. They hold for every runner, stock's own too.
"""

from lavis_tldr.runners.preflight.checks import check_parts
from lavis_tldr.runners.preflight.files import check_files, hub_errors_explained

__all__ = ["check_files", "check_parts", "hub_errors_explained"]
