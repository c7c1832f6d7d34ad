"""What a run folder tells: how each stage was made (``inspect``), and what became of one sample (``why``).

Read off the manifests and tables alone: no model, no torch and no LAVIS, so that it answers at once.
"""
