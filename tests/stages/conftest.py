from reductions import lavis_state  # noqa: F401  (for all tests here)
