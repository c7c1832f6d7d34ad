"""Data reduction (paper, section 3.2) as pure functions: arrays and tables in, arrays and tables out.

The modules in the order in which a run uses them: ``representation`` (what is clustered), ``draw`` (chance by key),
``clustering`` (K-Means), ``prototypes`` (how far samples are from their centroid), ``criteria`` (what ranks them),
``prefilter`` and ``duplicates`` (which take part), ``standing``, ``quotas``, ``selection`` and ``cut`` (which stay),
``refinement`` (what becomes the caption), ``understudy`` (who steps in for lost images), ``ledger`` and ``outcome``
(what became of every sample), ``caption_measures`` (what became of the captions). ``run_folder`` keeps what they make;
``code_tables`` and ``regroup`` say how it lies in files. No model and no LAVIS.
"""
