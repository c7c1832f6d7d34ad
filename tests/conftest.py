"""Settings of all tests."""

import pytest
from hypothesis import settings

# Machines that run tests are shared: how long an example takes says nothing about the code.
settings.register_profile("shared_machine", deadline=None)
settings.load_profile("shared_machine")


@pytest.fixture(scope="session")
def forked_ranks(tmp_path_factory):
    """Reductions in processes of their own, any number at once, without LAVIS's long import for each."""
    from forked_ranks import ForkedRanks  # only here: it imports LAVIS, which takes seconds

    with ForkedRanks(tmp_path_factory.mktemp("forked")) as ranks:
        yield ranks
