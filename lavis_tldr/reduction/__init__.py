"""Data reduction (paper, section 3.2) as pure functions: arrays and tables in, arrays and tables out.

The modules in the order in which a run uses them: ``representation`` (what is clustered), ``clustering``
(K-Means), ``selection`` and ``duplicates`` (which samples stay), ``refinement`` (what becomes the caption),
``ledger`` (what became of every sample). ``run_folder`` keeps what they make. No model and no LAVIS here.
"""
