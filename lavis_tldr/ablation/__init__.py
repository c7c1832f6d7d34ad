"""Grids of reductions, each scored by a proxy or by a downstream run (`lavis-tldr ablate`)."""
