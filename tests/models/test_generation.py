import itertools

import pytest
import torch
from toy_decoder import BOS, EOS, PAD, TableDecoder, memory_of, output_of

from lavis_tldr.models.generation import DecodingOptions, generate
from lavis_tldr.models.text_decoder import TextDecoder


def options(**changes) -> DecodingOptions:
    return DecodingOptions(**{"max_length": 4, "min_length": 0, "no_repeat_ngram": 0, **changes})


def search(decoder, memory, options, rows=None):
    return generate(decoder, memory, output_of(decoder, rows), options)


def best_of_all(decoder: TableDecoder, image: int, o: DecodingOptions, rows=None) -> list[int]:
    """The best sequence among all: those that end by EOS, and those cut at the maximal length."""
    vocab = range(decoder.table.shape[-1]) if rows is None else rows
    words = [token for token in vocab if token not in (PAD, BOS, EOS)]

    def score(ids) -> float:
        total, last = 0.0, BOS
        for t, token in enumerate(ids):
            allowed = decoder.table[image, t, last][torch.tensor(list(vocab))]
            total += float(decoder.table[image, t, last, token] - allowed.logsumexp(0))
            last = token
        return total / len(ids) ** o.length_penalty

    found = []
    for length in range(o.max_length + 1):
        for ids in itertools.product(words, repeat=length):
            n = o.no_repeat_ngram
            grams = [(BOS, *ids)[i : i + n] for i in range(length + 2 - n)] if n else []
            if len(set(grams)) < len(grams) or length < o.min_length:
                continue
            whole = ids if length == o.max_length else (*ids, EOS)
            found.append((score(whole), list(ids)))
    return max(found)[1]


@pytest.mark.parametrize("changes", [{}, {"min_length": 2}, {"length_penalty": 0.0}, {"length_penalty": 2.0}])
@pytest.mark.parametrize("seed", range(5))
def test_wide_beams_find_the_best_of_all(changes, seed):
    decoder = TableDecoder(3, 6, 4, seed)
    o = options(num_beams=200, **changes)
    wanted = [best_of_all(decoder, image, o) for image in range(3)]
    assert search(decoder, memory_of(0, 1, 2), o) == wanted


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_no_ngram_comes_twice(size, seed):
    decoder = TableDecoder(1, 5, 5, seed)
    o = options(num_beams=200, max_length=5, min_length=2, no_repeat_ngram=size, length_penalty=0.0)
    assert search(decoder, memory_of(0), o) == [best_of_all(decoder, 0, o)]


@pytest.mark.parametrize("num_beams", [1, 3, 200])
@pytest.mark.parametrize("seed", range(4))
def test_only_allowed_tokens_come(num_beams, seed):
    decoder = TableDecoder(2, 9, 4, seed)
    rows = [PAD, BOS, EOS, 5, 7]
    o = options(num_beams=num_beams, min_length=1)
    found = search(decoder, memory_of(0, 1), o, torch.tensor(rows))
    assert {token for ids in found for token in ids} <= {5, 7}
    if num_beams == 200:
        assert found == [best_of_all(decoder, image, o, rows) for image in range(2)]


def test_tokens_are_not_confined_to_the_beams_numbers():
    """With rows None every token stays possible after the first step."""
    decoder = TableDecoder(1, 9, 4, seed=0)
    decoder.table.fill_(-9.0)
    for position, (last, token) in enumerate([(BOS, 8), (8, 7), (7, 6), (6, EOS)]):
        decoder.table[0, position, last, token] = 9.0
    for num_beams in (1, 2, 3):
        assert search(decoder, memory_of(0), options(num_beams=num_beams)) == [[8, 7, 6]]


def small_decoder() -> TextDecoder:
    torch.manual_seed(0)
    decoder = TextDecoder(20, 16, 2, 2, 16, 8, max_positions=16, dropout=0.0).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return decoder


@torch.no_grad()
def naive_greedy(decoder, memory, max_length, min_length) -> list[int]:
    ids = [BOS]
    for length in range(max_length):
        scores = decoder.logits(decoder(torch.tensor([ids]), memory)[0, -1])
        scores[[PAD, BOS]] = float("-inf")
        if length < min_length:
            scores[EOS] = float("-inf")
        token = int(scores.argmax())
        if token == EOS:
            break
        ids.append(token)
    return ids[1:]


@pytest.mark.parametrize("min_length", [0, 3])
def test_greedy_equals_a_loop_without_cache(min_length):
    decoder, memory = small_decoder(), torch.randn(6, 5, 8)
    o = options(max_length=8, min_length=min_length)
    wanted = [naive_greedy(decoder, row[None], 8, min_length) for row in memory]
    assert search(decoder, memory, o) == wanted
    assert len({tuple(ids) for ids in wanted}) > 1


@pytest.mark.parametrize("num_beams", [1, 4])
def test_a_caption_does_not_depend_on_its_batch(num_beams):
    decoder, memory = small_decoder(), torch.randn(5, 5, 8)
    o = options(num_beams=num_beams, max_length=8, no_repeat_ngram=3)
    together = search(decoder, memory, o)
    assert together == [search(decoder, row[None], o)[0] for row in memory]


def test_beams_do_not_lose_to_greedy_here():
    decoder = TableDecoder(8, 12, 6, seed=1)
    memory = memory_of(*range(8))

    def total(ids, image):
        whole, score, last = (*ids, EOS)[:6], 0.0, BOS
        for t, token in enumerate(whole):
            score += float(decoder.table[image, t, last].log_softmax(-1)[token])
            last = token
        return score

    greedy = search(decoder, memory, options(max_length=6, length_penalty=0.0))
    beams = search(decoder, memory, options(max_length=6, length_penalty=0.0, num_beams=5))
    pairs = [(total(g, i), total(b, i)) for i, (g, b) in enumerate(zip(greedy, beams, strict=True))]
    assert sum(b for _, b in pairs) > sum(g for g, _ in pairs)


def test_nothing_left_to_say():
    """All n-grams banned before [SEP] may come: the caption is empty rather than wrong."""
    decoder = TableDecoder(1, 4, 4, seed=0)
    assert search(decoder, memory_of(0), options(min_length=3, no_repeat_ngram=1)) == [[]]


@pytest.mark.parametrize(
    "changes", [{"num_beams": 0}, {"max_length": 0, "min_length": 0}, {"min_length": 4}, {"min_length": -1}]
)
def test_impossible_options(changes):
    with pytest.raises(ValueError, match="expected num_beams >= 1 and 0 <= min_length < max_length"):
        options(**changes)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_step_is_read_from_the_device_once(monkeypatch, num_beams):
    decoder, steps, reads = TableDecoder(5, 6, 4, seed=0), [], []
    step, cpu = decoder.step, torch.Tensor.cpu
    monkeypatch.setattr(decoder, "step", lambda *a: steps.append(1) or step(*a))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: reads.append(1) or cpu(self))
    for kind in ("item", "__int__", "__bool__", "__float__"):
        monkeypatch.setattr(torch.Tensor, kind, lambda self, kind=kind: pytest.fail(f"{kind} reads one number"))
    search(decoder, memory_of(0, 1, 2, 3, 4), options(num_beams=num_beams, no_repeat_ngram=2))
    assert len(reads) == len(steps) > 1
