import pytest

from lavis_tldr.config_keys import check_dataset_keys


def test_known_keys_and_type_pass():
    check_dataset_keys("pairs", ["path", "type"], {"path": "", "caption": "caption"})


def test_an_unknown_key_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown key datasets\.pairs\.pth \(did you mean 'path'"):
        check_dataset_keys("pairs", ["pth"], ["path", "caption"])


def test_nothing_near():
    with pytest.raises(ValueError, match=r"known: path, type\)$"):
        check_dataset_keys("pairs", ["zzz"], ["path"])
