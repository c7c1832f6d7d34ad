"""Expected words are what Stanford's PTBTokenizer (CoreNLP 3.4.1) gave, punctuation dropped as pycocoevalcap does."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from lavis_tldr.evaluation.ptb_tokens import ptb_words

ORACLE = {
    "A man's dog isn't barking.": "a man 's dog is n't barking",
    "two-story house, white/blue; it's 10:30!": "two-story house white/blue it 's 10:30",
    '"Stop" sign (red)': "stop sign -lrb- red -rrb-",
    "a T.V. on 5th Ave.": "a t.v. on 5th ave.",
    "50% off & $5": "50 % off & $ 5",
    "can't won't gonna": "ca n't wo n't gon na",
    "cannot": "can not",
    "hot-dog... yum": "hot-dog yum",
    "3,000": "3,000",
    "Mr. Smith, St. Bernard vs. Dr. No": "mr. smith st. bernard vs. dr. no",
    "girls' toys and Chris' child's": "girls toys and chris child 's",
    "an o'clock 'quoted phrase' here, rock 'n' roll": "an o'clock quoted phrase here rock 'n' roll",
    "they're we've she'll he'd I'm": "they 're we 've she 'll he 'd i 'm",
    "a man in a [red] {x} — mid-air -- shirt": "a man in a -lsb- red -rsb- -lcb- x -rcb- mid-air shirt",
    "10:30am 5pm 7:00 p.m. 1/2 .5 2x4 5K 20-year-old": "10:30 am 5pm 7:00 p.m. 1/2 .5 2x4 5k 20-year-old",
    "don’t it’s ‘a’ “b” 😀": "do n't it 's a b",
    "café naïve über": "café naïve über",
    "What?! no? yes!": "what ?! no yes",
    "AT&T black&white @home #snow": "at&t black & white @home #snow",
    "": "",
    " . ": "",
}


@pytest.mark.parametrize("caption", ORACLE)
def test_words_are_the_servers(caption):
    assert ptb_words(caption) == ORACLE[caption]


def test_a_caption_that_comes_in_words_stays():
    assert ptb_words("a man 's dog is n't barking") == "a man 's dog is n't barking"


def java_words(captions: list[str]) -> list[str]:
    given = {number: [{"caption": caption}] for number, caption in enumerate(captions)}
    found = PTBTokenizer().tokenize(given)
    return [found[number][0] for number in range(len(captions))]


def as_written(caption: str) -> str:
    """A caption that comes in tokens, as a person would write it."""
    caption = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m|,|\.|;|:|!|\?)(?= |$)", r"\1", caption)
    return caption[:1].upper() + caption[1:].removesuffix(".") + "."


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no java to compare with")
def test_words_equal_the_java_programs():
    captions = [caption for caption in ORACLE if caption.strip(" .")]
    folder = Path(os.environ.get("FLICKR8K_CLEAN", "/nowhere"))
    if (folder / "dev.json").is_file():
        for row in json.loads((folder / "dev.json").read_text()):
            captions += [variant for caption in row["caption"] for variant in (caption, as_written(caption))]
    assert java_words(captions) == [ptb_words(caption) for caption in captions]
