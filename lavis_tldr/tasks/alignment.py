"""How well a caption fits its image, judged by the trained captioner."""

import numpy as np
import torch
from torch import Tensor

from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.tasks.reduce_config import ReduceConfig


class CaptionScorer:
    """Captions images from their codes and scores the captions that they came with.

    Two scores, neither of which needs another image-text model:

    - ``likelihood_gain``: how much likelier the captioner finds the caption, by the token, with its own image than
      with others: log p(T | image) - log mean over other images of p(T | other image). The pointwise mutual
      information of caption and image, with the marginal estimated from drawn images. What a caption is worth as
      language (length, common words) cancels out.
    - ``similarity``: cosine of the sentence embeddings of the original and the generated caption.

    Args:
        model: The trained captioner, in eval mode.
        config: The run's settings.
        codes: Of the whole set, (N, L): other images are drawn from it by the run's seed.
    """

    def __init__(self, model: CodebookCaptioner, config: ReduceConfig, codes: np.ndarray):
        self.model, self.config = model, config
        drawn = np.random.default_rng(config.seed).choice(
            len(codes), min(config.num_contrast, len(codes)), replace=False
        )
        self.others = torch.from_numpy(codes[np.sort(drawn)].astype(np.int64)).to(model.device)  # (R, L)
        self.sentences = (
            SentenceEncoder(config.similarity_weights).to(model.device) if config.similarity_weights else None
        )

    def __call__(self, codes: Tensor, captions: list[str]) -> dict[str, np.ndarray | list[str]]:
        """Scores of samples.

        Args:
            codes: (N, L).
            captions: N original captions.

        Returns:
            ``caption_generated`` (N strings), ``likelihood_gain`` and ``similarity`` (N,), float32; a score that the
            config does not ask for is NaN.
        """
        generated, gains = [], []
        size = self.config.batch_size_eval
        for start in range(0, len(captions), size):
            block = codes[start : start + size]
            generated += self.model.generate_from_codes(block, self.config.decoding)
            if self.config.alignment != "similarity":
                gains.append(self.likelihood_gain(block, captions[start : start + size]).cpu().numpy())
        unscored = np.full(len(captions), np.nan, dtype=np.float32)
        similarity = unscored
        if self.sentences is not None and self.config.alignment != "likelihood" and captions:
            both = self.sentences(captions + generated)
            similarity = (both[: len(captions)] * both[len(captions) :]).sum(1).numpy()
        return {
            "caption_generated": generated,
            "likelihood_gain": np.concatenate(gains).astype(np.float32) if gains else unscored,
            "similarity": similarity,
        }

    def likelihood_gain(self, codes: Tensor, captions: list[str]) -> Tensor:
        """See the class, (N,)."""
        own, num_tokens = self.model.caption_log_likelihood(codes, captions)
        others = [self.model.caption_log_likelihood(other[None], captions)[0] for other in self.others]
        marginal = torch.stack(others).logsumexp(0) - np.log(len(others))
        return (own - marginal) / num_tokens


def combine_scores(likelihood_gain: np.ndarray, similarity: np.ndarray, kind: str) -> np.ndarray:
    """One alignment score a sample, higher is better.

    Args:
        likelihood_gain: (N,).
        similarity: (N,).
        kind: likelihood, similarity, or both: the mean of the two after each is standardized over the samples.

    Returns:
        (N,), float32.
    """
    if kind == "likelihood":
        return likelihood_gain.astype(np.float32)
    if kind == "similarity":
        return similarity.astype(np.float32)
    return ((_standardized(likelihood_gain) + _standardized(similarity)) / 2).astype(np.float32)


def _standardized(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    spread = np.nanstd(x)
    return (x - np.nanmean(x)) / (spread if spread > 0 else 1.0)
