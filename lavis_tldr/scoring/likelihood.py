"""How well a caption fits its image, judged by the trained captioner."""

import numpy as np
import torch
from torch import Tensor

from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.image_encoding import ImageEncoding
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.reduction.alignments import ALIGNMENTS


class CaptionScorer:
    """Scores captions by the captioner that knows the images.

    Two scores, neither of which needs another image-text model:

    - ``likelihood_gain``: how much likelier the captioner finds the caption, by the token, with its own image than
      with others: log p(T | image) - log mean over other images of p(T | other image). The pointwise mutual
      information of caption and image, with the marginal estimated from drawn images. What a caption is worth as
      language (length, common words) cancels out.
    - ``similarity``: cosine of the sentence embeddings of the original and the generated caption.

    Args:
        model: The trained captioner, in eval mode.
        alignment: Which of the two to give: likelihood, similarity or both.
        others: The R images that a caption's likelihood is compared over.
        sentences: For ``similarity``; None leaves it out.
        batch_size: Captions whose likelihood is computed at once.
    """

    def __init__(
        self,
        model: CodebookCaptioner,
        alignment: str,
        others: ImageEncoding,
        sentences: SentenceEncoder | None = None,
        batch_size: int = 64,
    ):
        self.model, self.alignment, self.sentences, self.batch_size = model, alignment, sentences, batch_size
        self.others = others.to(model.device)

    def __call__(self, images: ImageEncoding, captions: list[str], generated: list[str]) -> dict[str, np.ndarray]:
        """Scores of captions.

        Args:
            images: N images.
            captions: N captions, one an image.
            generated: N captions that the captioner has generated; for ``similarity``.

        Returns:
            ``likelihood_gain`` and ``similarity``, (N,), float32: those that ``alignment`` asks for.
        """
        scores = {}
        if self.alignment != "similarity":
            size = self.batch_size
            starts = range(0, len(captions), size)
            gains = [self.likelihood_gain(images[i : i + size], captions[i : i + size]).cpu() for i in starts]
            scores["likelihood_gain"] = torch.cat([torch.zeros(0), *gains]).numpy()
        if self.sentences is not None and ALIGNMENTS[self.alignment].uses_captions:
            both = self.sentences([*captions, *generated])
            scores["similarity"] = (both[: len(captions)] * both[len(captions) :]).sum(1).numpy()
        return scores

    def likelihood_gain(self, images: ImageEncoding, captions: list[str]) -> Tensor:
        """See the class, (N,). NaN where no other image was drawn, or the captioner knows no token of a caption."""
        ids = self.model.token_ids(captions)  # once for all images
        own, num_tokens = self.model.caption_log_likelihood(images, ids)
        others = [self.model.caption_log_likelihood(other, ids)[0] for other in self.others.split(1)]
        # Among so few images the own one would count for much: a right caption would seem to gain little.
        is_other = (self.others.codes[:, None] != images.codes).any(-1)  # (R, N)
        others = torch.stack(others).masked_fill(~is_other, float("-inf"))
        marginal = others.logsumexp(0) - is_other.sum(0).log()
        gain = (own - marginal) / num_tokens
        return gain.masked_fill(~is_other.any(0), float("nan"))
