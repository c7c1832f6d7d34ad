"""The run folder and what lies in it: the table of stages, manifests, the lock, parts, the ledger, repairs.

No LAVIS and no torch: whoever reads a ledger needs neither.
"""
