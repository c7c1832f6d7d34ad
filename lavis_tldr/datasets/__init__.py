"""Datasets; importing this registers the builders with LAVIS."""

from lavis_tldr.datasets.tldr_reduced import ReducedBuilder, ReducedPairs

__all__ = ["ReducedBuilder", "ReducedPairs"]
