"""The toy suite in place of the paper's."""

import pytest


@pytest.fixture
def toys(monkeypatch, tmp_path, album):
    """The toy evaluations are the whole suite, and their set lies below TLDR_DATA."""
    import toy_suite

    from lavis_tldr.datasets.downstream import catalogue
    from lavis_tldr.suite import evaluations

    for name, evaluation in toy_suite.EVALUATIONS.items():
        monkeypatch.setitem(evaluations.EVALUATIONS, name, evaluation)
    monkeypatch.setitem(evaluations.SUITES, "paper", tuple(toy_suite.EVALUATIONS))
    for name in list(catalogue.SETS):
        monkeypatch.delitem(catalogue.SETS, name)
    monkeypatch.setitem(catalogue.SETS, "toy", toy_suite.TOY_SET)
    monkeypatch.setenv(catalogue.ROOT_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setattr(toy_suite.ToyScores, "figures", {"acc": 50.0, "rank": 2.5, "chance": 10.0})
    monkeypatch.setattr(toy_suite.ToyScores, "asked", [])
    toy_suite.lay_out(album, tmp_path / "data")
    return toy_suite
