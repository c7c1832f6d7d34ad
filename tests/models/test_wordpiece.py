import random

import pytest

from lavis_tldr.models.tokenizer import CaptionTokenizer, read_vocabulary
from lavis_tldr.models.wordpiece_training import SPECIAL_TOKENS, train_vocabulary

CAPTIONS = ["A red kite over the sea", "a red boat on the sea", "Two boats, a kite", "the café", "the sea, the sea"]


def test_merges_by_hand():
    # Pieces of "aab aab ab": a, ##a, ##b (3, 2, 3 times). Pairs: (##a, ##b) 2 and (a, ##a) 2, (a, ##b) 1. "##a" sorts
    # before "a", so ##ab is merged first; then a ##ab is the only pair that comes twice.
    assert train_vocabulary(["aab", "aab ab"], 100) == [*SPECIAL_TOKENS, "##a", "##b", "a", "##ab", "aab"]


def test_size_is_a_limit():
    assert len(train_vocabulary(CAPTIONS, 30)) == 30
    assert len(train_vocabulary(CAPTIONS, 8)) == 8


def test_order_of_captions_does_not_matter():
    captions = CAPTIONS * 3 + [f"a thing of number {i}" for i in range(20)]
    wanted = train_vocabulary(captions, 60)
    shuffled = captions[:]
    random.Random(0).shuffle(shuffled)
    assert train_vocabulary(shuffled, 60) == wanted
    assert len(set(wanted)) == len(wanted)


def test_frequent_words_become_tokens():
    vocabulary = train_vocabulary(CAPTIONS * 2, 200)
    assert {"red", "kite", "boat", "boats", "sea", "the", "cafe"} <= set(vocabulary)


def test_rare_characters_leave_no_pieces_behind():
    vocabulary = train_vocabulary(["zz " * 50 + "xy xy"], 7)  # room for two characters alone
    assert vocabulary == [*SPECIAL_TOKENS, "##z", "z"]


def test_round_trip():
    tokenizer = CaptionTokenizer(train_vocabulary(CAPTIONS, 60))
    for caption in CAPTIONS:
        (ids,) = tokenizer.encode([caption], 30)
        assert (ids[0], ids[-1]) == (tokenizer.bos, tokenizer.eos)
        plain = caption.lower().replace("é", "e").replace(",", "")
        assert tokenizer.decode(ids).replace(" ,", "").replace(",", "") == plain


def test_cut_caption_has_no_end():
    tokenizer = CaptionTokenizer(train_vocabulary(CAPTIONS * 2, 200))
    (whole,), (cut,) = tokenizer.encode(["a red kite"], 30), tokenizer.encode(["a red kite"], 3)
    assert whole[:3] == cut
    assert tokenizer.eos not in cut and len(whole) == 5


def test_unknown_characters():
    tokenizer = CaptionTokenizer(train_vocabulary(CAPTIONS, 60))
    (ids,) = tokenizer.encode(["a жук"], 30)
    assert tokenizer.vocabulary.index("[UNK]") in ids
    assert tokenizer.decode(ids) == "a"


def test_vocabulary_file_round_trip(tmp_path):
    vocabulary = train_vocabulary(CAPTIONS, 60)
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    assert read_vocabulary(path) == vocabulary


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no vocabulary"), ("a\nb\n", r"lacks \[PAD\], \[UNK\]"), ("twice", "holds a token twice")],
)
def test_bad_vocabulary_files(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_text("\n".join([*SPECIAL_TOKENS, "a", "a"]) if content == "twice" else content)
    with pytest.raises(ValueError, match=message):
        read_vocabulary(path)


@pytest.mark.parametrize(("captions", "size"), [(["a"], 5), ([], 50), (["", " "], 50)])
def test_nothing_to_learn(captions, size):
    with pytest.raises(ValueError, match="vocab_size is 5|hold no word"):
        train_vocabulary(captions, size)
