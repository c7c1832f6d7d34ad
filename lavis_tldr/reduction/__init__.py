"""Data reduction (paper, section 3.2) as pure functions: arrays and tables in, arrays and tables out.

The modules in the order in which a run uses them: ``representation`` (what is clustered), ``draw`` (chance by key),
``clustering`` (K-Means), ``prototypes`` (how far samples are from their centroid), ``criteria`` (what ranks them),
``prefilter`` and ``duplicates`` (which take part), ``standing``, ``quotas``, ``selection`` and ``cut`` (which stay),
``alignments`` (the ways to score a caption's fit), ``mixture`` (weights of several scores), ``refinement`` (what
becomes the caption), ``understudy`` (who steps in for lost images), ``caption_measures`` (what became of the captions).
No files, no model and no LAVIS.
"""
