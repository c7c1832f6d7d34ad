"""A cache folder that lets stock LAVIS models be built without a model hub."""

import os
import subprocess
import sys

import pytest
import torch

from lavis_tldr.environment.offline import character_vocabulary, export_lines, prepare_offline

# In a process of its own: transformers reads these variables when it is imported.
BUILD = """
import os, sys
os.environ["LAVIS_TLDR_NO_REGISTER"] = "1"
from transformers import BertConfig, BertModel
from lavis.models.blip_models.blip import BlipBase
from lavis.models.vit import VisionTransformerEncoder
from omegaconf import OmegaConf

tokenizer = BlipBase.init_tokenizer()
small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
bert = BertModel.from_pretrained("bert-base-uncased", config=small)
vit = VisionTransformerEncoder.from_config(OmegaConf.create({"vit_type": "base", "image_size": 32}), True)
print(tokenizer.tokenize("A red7!"), tokenizer.convert_tokens_to_ids("[DEC]"))
print(bert.embeddings.word_embeddings.weight.std().item() > 0.01, tuple(vit.pos_embed.shape))
"""


def test_stock_tokenizer_bert_and_deit_are_built(tmp_path):
    variables = prepare_offline(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    tokens, built = done.stdout.strip().splitlines()[-2:]
    assert tokens == f"['a', 'r', '##e', '##d', '##7', '!'] {len(character_vocabulary())}"
    assert built == "True (1, 5, 768)"  # 2 x 2 patches and [CLS]


def test_vocabulary_is_taken_over(tmp_path):
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n")
    prepare_offline(tmp_path / "home", vocab)
    [copy] = (tmp_path / "home").rglob("vocab.txt")
    assert copy.read_text() == vocab.read_text()


def test_vocabulary_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no vocabulary file"):
        prepare_offline(tmp_path, tmp_path / "none.txt")
    (tmp_path / "words.txt").write_text("[PAD]\ncat\n")
    with pytest.raises(ValueError, match=r"\[UNK\] is missing from its 2 lines"):
        prepare_offline(tmp_path, tmp_path / "words.txt")


def test_real_checkpoints_are_kept(tmp_path):
    prepare_offline(tmp_path)
    [deit] = tmp_path.rglob("deit*.pth")
    torch.save({"real": torch.ones(1)}, deit)
    prepare_offline(tmp_path)
    assert list(torch.load(deit)) == ["real"]
    prepare_offline(tmp_path, keep=False)
    assert list(torch.load(deit)) == ["model"]


def test_export_lines_are_safe_for_a_shell():
    assert export_lines({"A": "/x/y", "B": "a b'c"}) == "export A=/x/y\nexport B='a b'\"'\"'c'"
