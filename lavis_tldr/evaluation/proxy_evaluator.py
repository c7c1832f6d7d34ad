"""Training and scoring the retrieval proxy on one set after another, with what they share computed once."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa
import torch
from torch import Tensor

from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.image_features import encoder_fingerprint, pooled_features
from lavis_tldr.datasets.pair_index import PairIndex
from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions, RetrievalProxy, retrieval_metrics, train_proxy
from lavis_tldr.exports.pairs import location_of
from lavis_tldr.reduction.refinement import DRAWN
from lavis_tldr.runs.stages import REPEATS

# An image's key and its captions: one, or several of which training draws one at every epoch.
TrainingPair = tuple[str, Sequence[str]]


class ProxyEvaluator:
    """Trains the proxy on one set after another and scores it on the same pairs; features are computed once.

    Args:
        images: Feature of each image of the sets and of the scored pairs by key, (D,).
        texts: Embeds captions.
        scored: Key, place and captions of the images to score on.
    """

    def __init__(self, images: Mapping[str, Tensor], texts: Callable[[Sequence[str]], Tensor], scored: PairIndex):
        self.images, self.texts = images, texts
        self._keys = [key for key, _, _ in scored]
        self._captions = [caption for _, _, captions in scored for caption in captions]
        self._image_of = [i for i, (_, _, captions) in enumerate(scored) for _ in captions]

    def __call__(self, pairs: Sequence[TrainingPair], options: ProxyOptions, seed: int) -> dict[str, float]:
        """Recall in percent after training on these pairs (`retrieval_metrics`).

        Raises:
            ValueError: If there are fewer pairs than a batch takes, or an image has no feature.
        """
        features = self._image_features([key for key, _ in pairs])
        return self._score(train_proxy(features, self._text_features(pairs), options, seed))

    def _image_features(self, keys: Sequence[str]) -> Tensor:
        """(N, D), in order."""
        if missing := [key for key in keys if key not in self.images]:
            raise ValueError(
                f"{len(missing)} images to train or score the proxy on can't be read (first: {missing[0]}; see the "
                "warnings above): restore them, or leave them out of the source and reduce it again."
            )
        return torch.stack([self.images[key] for key in keys])

    def _text_features(self, pairs: Sequence[TrainingPair]) -> Tensor:
        """(N, W), or (N, A, W) where some image has A captions."""
        most = max(len(captions) for _, captions in pairs)
        # Who has fewer repeats them; with one and two, as here, each is as likely as another.
        rows = [captions[i % len(captions)] for _, captions in pairs for i in range(most)]
        found = self.texts(rows)
        return found if most == 1 else found.view(len(pairs), most, -1)

    @torch.no_grad()
    def _score(self, proxy: RetrievalProxy) -> dict[str, float]:
        images = proxy.embed_images(self._image_features(self._keys))
        texts = proxy.embed_texts(self.texts(self._captions))
        return retrieval_metrics((images @ texts.T).numpy(), self._image_of)


def kept_pairs(ledger: pa.Table) -> list[TrainingPair]:
    """The pairs that a reduced set trains on: both captions where one is to be drawn at every epoch, else the refined.

    A pair that is kept several times is there as often.

    Args:
        ledger: Of one reduction; columns kept, image_key, caption, caption_from, caption_original and
            caption_generated, and repeats (null, or no such column: once).
    """
    rows = ledger.filter(ledger["kept"]).to_pylist()
    return [(row["image_key"], _captions_to_draw(row)) for row in rows for _ in range(row.get(REPEATS) or 1)]


def _captions_to_draw(row: dict) -> tuple[str, ...]:
    if row["caption_from"] == DRAWN:
        return row["caption_original"], row["caption_generated"]
    return (row["caption"],)


def feature_cache(folder: str | None, model) -> FeatureCache | None:
    """The folder's cached features of the model's encoder, where there is a folder."""
    return FeatureCache(folder, encoder_fingerprint(model)) if folder else None


def image_features(
    model,
    tables: Iterable[pa.Table],
    scored: PairIndex,
    *,
    vis_processor: Callable,
    cached: FeatureCache | None,
    num_workers: int = 0,
) -> dict[str, Tensor]:
    """The pooled feature (`pool_tokens`) of each readable image by key, (2 D,), standardized over all of them.

    Args:
        model: The captioner, on its device, in eval mode.
        tables: image_key, error and the image's place of the records of the sets.
        scored: Key, place and captions of the images to score on.
        vis_processor: Maps a PIL image to a tensor.
        cached: Features computed before.
        num_workers: Loader processes.
    """
    places = {key: place for key, place, _ in scored}
    for table in tables:
        for row in table.to_pylist():
            if not row["error"]:
                places.setdefault(row["image_key"], location_of(row))
    found = pooled_features(model, places, vis_processor, cached, bf16=False, num_workers=num_workers)
    stacked = torch.stack(list(found.values()))
    stacked = (stacked - stacked.mean(0)) / stacked.std(0).clamp(min=1e-6)
    return dict(zip(found, stacked, strict=True))
