from lavis_tldr.reduction.objectives import OBJECTIVES


def test_each_has_its_reason_in_one_line():
    assert set(OBJECTIVES) == {"retrieval", "classification", "both"}
    for defaults in OBJECTIVES.values():
        for name, default in defaults.items():
            assert 10 < len(default.why) < 90 and "\n" not in default.why, name


def test_both_lies_between():
    retrieval, classes, both = (OBJECTIVES[name] for name in ("retrieval", "classification", "both"))
    assert retrieval["balance"].value < both["balance"].value < classes["balance"].value
    assert 0 < both["min_words"].value <= retrieval["min_words"].value and "min_words" not in classes
