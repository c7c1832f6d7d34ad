"""Lets stock LAVIS models be built where no model hub can be reached.

``BertTokenizer.from_pretrained("bert-base-uncased")`` and the DeiT weights have no config key in LAVIS 1.0.2,
but both look in a cache folder first. :func:`prepare_offline` fills such folders with what is enough: a
vocabulary, and checkpoints that hold next to nothing, so that the weights start random. Name real
checkpoints by ``pretrained:``.
"""

from __future__ import annotations

import json
import os
import shlex
import string
from pathlib import Path

BERT = "bert-base-uncased"
DEIT_FILE = "deit_base_patch16_224-b5f2ef4d.pth"
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_REVISION = "0" * 40  # the hub's cache names a snapshot by its commit; any 40 digits do


def prepare_offline(
    directory: str | os.PathLike, vocab: str | os.PathLike | None = None, *, keep: bool = True
) -> dict[str, str]:
    """Fill ``directory`` so that LAVIS's BERT tokenizer, BERT and DeiT need no hub.

    Args:
        directory: Made if needed; holds ``huggingface/`` and ``torch/``.
        vocab: bert-base-uncased's ``vocab.txt``, one word piece a line. None: a small vocabulary of single
            characters, which is enough for tests.
        keep: Leave checkpoints that are there already (real ones, say) as they are.

    Returns:
        The environment variables that make use of it. They must be set before transformers is imported.

    Raises:
        FileNotFoundError: If ``vocab`` does not exist.
        ValueError: If ``vocab`` lacks one of BERT's special tokens.
    """
    root = Path(directory).expanduser().absolute()
    pieces = _read_vocabulary(Path(vocab)) if vocab is not None else character_vocabulary()
    hub = root / "huggingface" / "hub" / f"models--{BERT}"
    snapshot = hub / "snapshots" / _REVISION
    _write(hub / "refs" / "main", _REVISION)
    _write(hub.parent / "version.txt", "1")  # of the cache; without it transformers warns and looks for files to move
    _write(snapshot / "vocab.txt", "\n".join(pieces) + "\n")
    _write(snapshot / "tokenizer_config.json", json.dumps({"do_lower_case": True, "model_max_length": 512}))
    _write(snapshot / "config.json", json.dumps(_bert_config(len(pieces))))
    deit = root / "torch" / "hub" / "checkpoints" / DEIT_FILE
    _write_checkpoints(snapshot / "pytorch_model.bin", deit, keep=keep)
    return {
        "HF_HOME": str(root / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TORCH_HOME": str(root / "torch"),
    }


def character_vocabulary() -> list[str]:
    """A WordPiece vocabulary that spells every ASCII text: special tokens, characters, and their ## forms."""
    characters = [*string.ascii_lowercase, *string.digits]
    return [*_SPECIAL_TOKENS, *characters, *(f"##{c}" for c in characters), *string.punctuation]


def export_lines(variables: dict[str, str]) -> str:
    """Shell lines that set the variables."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _read_vocabulary(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no vocabulary file {path}")
    pieces = path.read_text(encoding="utf-8").splitlines()
    missing = [token for token in _SPECIAL_TOKENS if token not in pieces]
    if missing:
        raise ValueError(
            f"{path} is not a BERT vocabulary: {missing[0]} is missing from its {len(pieces)} lines. "
            "Expected one word piece a line, as in bert-base-uncased's vocab.txt."
        )
    return pieces


def _bert_config(vocab_size: int) -> dict:
    return {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": vocab_size,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }


def _write_checkpoints(bert: Path, deit: Path, *, keep: bool) -> None:
    import torch

    # transformers refuses an empty checkpoint; one tensor that no LAVIS model has leaves all weights random.
    pos_embed = torch.zeros(1, 197, 768)  # 14 x 14 patches and [CLS]: LAVIS resizes it to its image size
    torch.nn.init.trunc_normal_(pos_embed, std=0.02, generator=torch.Generator().manual_seed(0))
    contents = {
        bert: {"cls.seq_relationship.bias": torch.zeros(2)},
        deit: {"model": {"pos_embed": pos_embed}},
    }
    for path, content in contents.items():
        if keep and path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
