import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lavis_tldr.sources import json_list
from lavis_tldr.sources.json_list import BrokenJsonError, NoJsonListError, NoUtf8Error, iter_json_list

_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(),
        st.sampled_from(["\ud83d\ude00", "\udc00"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
_lists = st.lists(_values, max_size=5)
_chunks = st.integers(1, 40)


def _read(text, chunk):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_list, "CHUNK_CHARACTERS", chunk)
        path = Path(folder, "list.json")
        path.write_text(text, encoding="utf-8", newline="")
        return list(iter_json_list(path))


@given(_lists, _chunks, st.sampled_from([None, 0, 2]))
@example([12.5, 34, -1e-7, float("-inf"), True], 1, None)
def test_the_values_are_those_of_json(values, chunk, indent):
    text = json.dumps(values, indent=indent)
    found = _read(f" {text}\r\n", chunk)
    assert [value for value, _ in found] == json.loads(text)
    assert [json.loads(own) for _, own in found] == json.loads(text)


@given(_lists, _chunks, st.integers(0, 200), st.sampled_from(["", "", ",", "]", "[", '"', "1", "\n", "\\", "}", " x"]))
@example(["a", "b"], 3, 4, "")
@example([], 1, 2, "[]")
def test_what_is_wrong_is_told_as_json_tells_it(values, chunk, at, instead):
    whole = json.dumps(values, indent=1)
    at %= len(whole) + 1
    text = whole[:at] + instead + whole[at + 1 :] if instead else whole[:at]
    if not text.strip().startswith("["):
        with pytest.raises(NoJsonListError) as other:
            _read(text, chunk)
        assert other.value.first == text.strip()[:1]
        return
    try:
        expected = json.loads(text)
    except json.JSONDecodeError as error:
        with pytest.raises(BrokenJsonError) as found:
            _read(text, chunk)
        if "trailing comma" not in error.msg:  # as Python 3.13 calls a value that is missing
            assert str(found.value) == str(error)
            assert (found.value.reason, found.value.position) == (error.msg, error.pos)
    else:
        assert [value for value, _ in _read(text, chunk)] == expected


def test_a_byte_that_is_no_utf8_is_counted_from_the_begin(tmp_path):
    path = tmp_path / "list.json"
    path.write_bytes(b"[" + b"1, " * 100_000 + b'"caf\xe9"]')
    with pytest.raises(NoUtf8Error, match="byte 0xe9 in position 300005: invalid continuation byte"):
        list(iter_json_list(path))


def test_a_value_that_never_ends_is_not_read_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(json_list, "CHUNK_CHARACTERS", 10)
    monkeypatch.setattr(json_list, "MAX_VALUE_CHARACTERS", 50)
    path = tmp_path / "list.json"
    # The quotation mark that would end it lies behind what is looked at.
    path.write_text('[1, "' + "x" * 80 + '"]')
    values = iter_json_list(path)
    assert next(values) == (1, "1")
    with pytest.raises(BrokenJsonError, match="Unterminated string starting at: line 1 column 5"):
        next(values)
