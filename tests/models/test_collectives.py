"""An error of the first process reaches the others, which would otherwise wait for its word for ever."""

import pytest

from lavis_tldr.models import collectives


@pytest.fixture
def on_two(monkeypatch):
    """Runs the same on rank 0, then on rank 1 with what rank 0 sent; gives what each made or raised."""
    sent = []

    def run(make):
        outcomes = []
        for rank in range(2):
            monkeypatch.setattr(collectives, "_alone", lambda: False)
            monkeypatch.setattr(collectives.dist, "get_rank", lambda rank=rank: rank)
            monkeypatch.setattr(collectives.dist, "broadcast_object_list", broadcast(rank))
            try:
                outcomes.append(collectives.from_rank_zero(make))
            except Exception as error:
                outcomes.append((type(error), str(error)))
        return outcomes

    def broadcast(rank):
        def exchange(box, src):
            assert src == 0
            if rank == 0:
                sent[:] = box
            else:
                box[:] = sent

        return exchange

    return run


def test_all_get_what_the_first_makes_once(on_two):
    made = []
    assert on_two(lambda: made.append(1) or [3]) == [[3], [3]] and made == [1]


@pytest.mark.parametrize(("error", "on_others"), [(ValueError, ValueError), (KeyError, RuntimeError)])
def test_its_error_is_raised_on_all(on_two, error, on_others):
    def fail():
        raise error("a score is NaN")

    first, other = on_two(fail)
    assert first[0] is error and "a score is NaN" in first[1]
    assert other[0] is on_others and other[1].startswith("process 0 stopped: ") and "a score is NaN" in other[1]
