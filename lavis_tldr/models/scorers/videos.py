"""How well texts fit videos, by scorers of images.

Shapes: V videos, F frames of each, M texts, L tokens of a frame, D their width, E embedding width.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lavis_tldr.models.scorers.blip import BlipScorer
from lavis_tldr.models.scorers.scorer import ImageTextScorer, ReadImages

WAYS = ("joined", "mean")


def embed_videos(scorer: ImageTextScorer, samples: Mapping[str, Any], read: ReadImages | None, count: int) -> Tensor:
    """Unit embeddings of videos, (V, E) float32: the mean over frames, scaled to length 1.

    Of a frame's unit embedding, as CLIP4Clip does (arXiv:2104.08860, meanP); of BLIP of its projection, which need not
    have length 1, as BLIP does.

    Args:
        scorer: A model that embeds.
        samples: With ``image``, all frames, (V F, 3, H, W).
        read: The same frames, if they were read already.
        count: F.
    """
    if isinstance(scorer, BlipScorer):
        frames = scorer.project_read(scorer.read_images(samples) if read is None else read)
    else:
        frames = scorer.embed_images(samples) if read is None else scorer.embed_read(read)
    return F.normalize(frames.unflatten(0, (-1, count)).mean(1), dim=-1)


@torch.no_grad()
def match_video(scorer: ImageTextScorer, video: ReadImages, texts: list[str], way: str, per_pass: int) -> Tensor:
    """Match logits of a video with texts, (M,) float32.

    Args:
        scorer: The model.
        video: Its frames, read, (F, L, D), on the model's device.
        texts: M texts.
        way: ``joined``: the model reads all frames' tokens at once, one after the other, as BLIP does; ``mean``: it
            reads each frame with the text, and the logits' mean is taken.
        per_pass: Pairs of an image and a text that are read at once; a joined video counts as one.
    """
    count = 1 if way == "joined" else len(video)
    read = video.joined(len(video)) if way == "joined" else video
    at_once = max(1, per_pass // count)
    logits = []
    for first in range(0, len(texts), at_once):
        block = texts[first : first + at_once]
        rows = torch.arange(count, device=read.tokens.device).repeat(len(block))
        found = scorer.match_pairs(read[rows], [text for text in block for _ in range(count)])
        logits.append(found.float().view(len(block), count).mean(1))
    return torch.cat(logits)
