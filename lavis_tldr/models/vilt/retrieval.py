"""ViLT for retrieval: every image with every text."""

import numpy as np
import torch
import torch.nn.functional as F
from lavis.common.registry import registry
from torch import Tensor

from lavis_tldr.models.cosine_retrieval import check_each_once
from lavis_tldr.models.vilt.config import packaged_defaults
from lavis_tldr.models.vilt.scoring import PairScorer


@registry.register_model("vilt_retrieval")
class ViltRetrieval(PairScorer):
    """ViLT with one score a pair, for LAVIS's task ``retrieval``; zero-shot right after it has loaded a pretraining.

    Model types as of `ViltPretrain`.

    Samples in training:
        image: (B, 3, H, W);
        text_input: B captions;
        image_id: (B,), optional: captions of one image are no negatives of each other.

    Args:
        sizes, tokenizer, freeze_layers, itc_width, pairs_per_pass: See `PairScorer`.
        num_negatives: Texts of other images that each image's own text is told from; all others' where the batch has
            fewer. Differs from the official code, which draws them from the whole set.
    """

    PRETRAINED_MODEL_CONFIG_DICT = packaged_defaults("vilt_retrieval")
    OPTIONS = ("pairs_per_pass", "num_negatives")

    def __init__(self, sizes, tokenizer, *, num_negatives: int = 15, **options):
        super().__init__(sizes, tokenizer, **options)
        if num_negatives < 1:
            raise ValueError(f"model.num_negatives is {num_negatives}; expected at least 1.")
        self.num_negatives = num_negatives

    def forward(self, samples: dict) -> dict[str, Tensor]:
        """Cross-entropy of the own text among others (``loss``), and the share told right (``accuracy``), 0-dim.

        With a contrastive head its loss is trained too, and told as ``loss_itc``.
        """
        ids, text_mask = self.tokenize(samples["text_input"])
        image, image_mask = self.embed_image(samples)
        candidates, allowed = self.draw_candidates(ids, samples.get("image_id"))
        count = candidates.shape[1]
        rows = candidates.flatten()
        mask = None if image_mask is None else image_mask.repeat_interleave(count, 0)
        scores = self.score(ids[rows], text_mask[rows], image.repeat_interleave(count, 0), mask)
        scores = scores.float().view(-1, count).masked_fill(~allowed, float("-inf"))
        own = torch.zeros(len(ids), dtype=torch.long, device=self.device)
        figures = {"loss": F.cross_entropy(scores, own), "accuracy": (scores.argmax(1) == own).float().mean()}
        if self.itc is not None:
            figures["loss_itc"] = self.itc_loss(image, image_mask, ids, text_mask)
            figures["loss"] = figures["loss"] + figures["loss_itc"]
        return figures

    def draw_candidates(self, ids: Tensor, image_id: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rows of the texts that each image is read with, its own first.

        Args:
            ids: WordPieces of the batch's texts, (B, T).
            image_id: Which image each text is of, (B,), or None.

        Returns:
            (B, n), and which of them count, (B, n) bool: not those of the image itself, nor the same text again.

        Raises:
            ValueError: If the batch is a single pair.
        """
        batch = len(ids)
        if batch < 2:
            raise ValueError("vilt_retrieval takes negatives from the batch, which holds a single pair; use 2 or more.")
        same = (ids[:, None] == ids[None]).all(2)
        if image_id is not None:
            image_id = torch.as_tensor(image_id, device=ids.device)
            same = same | (image_id[:, None] == image_id[None])
        draw = torch.rand(batch, batch, device=ids.device).masked_fill(same, 2.0)  # what may not be drawn comes last
        draw.fill_diagonal_(-1.0)
        rows = draw.argsort(1)[:, : 1 + self.num_negatives]
        allowed = ~same.gather(1, rows)
        allowed[:, 0] = True
        return rows, allowed

    @torch.no_grad()
    def compute_sim_matrix(self, data_loader, task_cfg=None, **kwargs) -> tuple[np.ndarray, np.ndarray]:
        """Scores of all images with all texts of a retrieval set, as LAVIS's task asks for them.

        All pairs are scored, so ``run.k_test`` has no meaning here. Several processes share the work; each must be
        given the whole set (``run.use_dist_eval_sampler: False``).

        Returns:
            (images, texts) and (texts, images), float32.

        Raises:
            ValueError: If the loader does not give each image once.
        """
        tokens, masks, indices = [], [], []
        for samples in data_loader:
            image, mask = self.embed_image(samples)
            tokens.append(image.cpu())  # of thousands of images too large for a GPU
            masks.append(mask if mask is None else mask.cpu())
            indices += torch.as_tensor(samples["index"]).tolist()
        num_images = len(data_loader.dataset)
        check_each_once(indices, num_images)
        image = torch.cat(tokens)
        image_mask = None if masks[0] is None else torch.cat(masks)
        scores = torch.empty(num_images, len(data_loader.dataset.text))
        scores[indices] = self.score_all_ranks(image, image_mask, data_loader.dataset.text, "scoring pairs").cpu()
        return scores.numpy(), scores.t().contiguous().numpy()
