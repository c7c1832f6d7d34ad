"""The stages of a reduction, one a file, in the order in which data goes through them (`lavis_tldr.runs.stages`).

The module of a stage bears its name. It has `run(context, stage)`, which reads the files of the stages before it and
writes its own into the open stage; and, where more decides its outcome than the run's settings, `given(context)`.
"""
