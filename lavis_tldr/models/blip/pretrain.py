"""``blip_pretrain_tldr``: LAVIS's BLIP pretraining from given towers, frozen or not, with a faster step.

Shapes: B pairs, L patches, D width of the image tower.
"""

import logging

import torch
import torch.nn.functional as F
from lavis.common.registry import registry
from lavis.models.albef_models import compute_sim_matrix
from lavis.models.base_model import concat_all_gather
from lavis.models.blip_models.blip_pretrain import BlipPretrain
from lavis.models.med import XBertEncoder, XBertLMHeadDecoder
from torch import Tensor
from transformers import BertTokenizerFast

from lavis_tldr.models.blip.config import CONFIGS, read_checkpoint, read_config
from lavis_tldr.models.blip.image_tower import ImageTower, build_image_tower
from lavis_tldr.models.blip.losses import Captions, Features, contrastive_loss, matching_and_language_losses
from lavis_tldr.models.blip.text_passes import run_layers
from lavis_tldr.models.blip.text_towers import build_text_towers, build_tokenizer
from lavis_tldr.models.conversion.blip import QUEUES, add_momentum_weights, positions_for
from lavis_tldr.models.cosine_retrieval import cosine_matrices
from lavis_tldr.models.given_features import LoaderWithImages, with_image

logger = logging.getLogger(__name__)

_LEAST_TEMPERATURE, _MOST_TEMPERATURE = 0.001, 0.5


@registry.register_model("blip_pretrain_tldr")
class BlipPretrainTLDR(BlipPretrain):
    """BLIP's pretraining; its weights have the names of stock ``blip_pretrain``.

    Model types: ``base`` (ViT-B/16 and BERT-base), ``small`` (ViT-S/14 and a 6-layer BERT of width 384), ``tiny`` (for
    tests).

    Samples: ``image`` (B, 3, H, W), or, of a frozen tower, ``image_features`` (B, 1 + L, D), [CLS] first;
    ``text_input``, B captions; ``epoch``, ``iters``, ``num_iters_per_epoch``, which ``alpha``'s rise goes by.

    Args:
        image_encoder: The image tower.
        text_encoder: Reads captions, alone and with an image.
        text_decoder: Writes captions.
        tokenizer: Of both, with [DEC] and [ENC].
        fast: Take the step with fewer operations. Its losses and gradients are stock's, its draws are others.
        options: As stock takes them: ``queue_size``, ``alpha``, ``embed_dim``, ``momentum``, ``max_txt_len``.
    """

    PRETRAINED_MODEL_CONFIG_DICT = {
        name: str(CONFIGS / f"blip_pretrain_tldr_{name}.yaml") for name in ("base", "small", "tiny")
    }

    def __init__(
        self,
        image_encoder: ImageTower,
        text_encoder: XBertEncoder,
        text_decoder: XBertLMHeadDecoder,
        tokenizer: BertTokenizerFast,
        *,
        fast: bool = True,
        **options,
    ):
        self._given_tokenizer = tokenizer  # stock's constructor asks for it, and can't be handed one
        super().__init__(image_encoder, text_encoder, text_decoder, **options)
        self.fast = fast
        if image_encoder.frozen:
            # What never moves is its own moving average: no second copy, and no second pass.
            self.visual_encoder_m = self.visual_encoder
            self.model_pairs = self.model_pairs[1:]

    def init_tokenizer(self) -> BertTokenizerFast:
        return self._given_tokenizer

    # Building

    @classmethod
    def from_config(cls, cfg) -> "BlipPretrainTLDR":
        """Build from a LAVIS model config; see configs/models for the keys.

        Raises:
            ValueError: If a key is unknown, a value out of range, or a weight file absent or wrong.
        """
        config = read_config(cfg)
        checkpoint = read_checkpoint(config)
        tokenizer = build_tokenizer(config)
        options = ("fast", "queue_size", "alpha", "embed_dim", "momentum", "max_txt_len")
        model = cls(
            build_image_tower(config),
            *build_text_towers(config, len(tokenizer)),
            tokenizer,
            **{name: config[name] for name in options},
        )
        if config["freeze_vit"] and checkpoint is None and not config["vit_weights"]:
            logger.warning("model.freeze_vit is True without model.vit_weights: the image tower stays random.")
        if checkpoint is not None:
            model.load_weights(*checkpoint)
        return model

    def load_weights(self, state: dict[str, Tensor], where: str) -> None:
        """Load a checkpoint of this model or of ``blip_pretrain``; positions are resized to this model's image size.

        Momentum weights that it lacks start from the trained ones, a queue of another size from noise, and a frozen
        image tower that it lacks stays as it is.

        Args:
            state: The weights.
            where: The file that they are from, for messages.

        Raises:
            ValueError: If a weight is missing, left over or of another shape.
        """
        own = self.state_dict()
        frozen = self.visual_encoder.frozen
        if frozen:  # one tower under both names
            state = {name: value for name, value in state.items() if not name.startswith("visual_encoder_m.")}
            if not any(name.startswith("visual_encoder.") for name in state):
                state = {**{name: v for name, v in own.items() if name.startswith("visual_encoder.")}, **state}
        if "visual_encoder.pos_embed" in state:
            state = positions_for(state, self.visual_encoder.patch_embed.img_size[0])
        state = add_momentum_weights(state)
        if any(name in state and state[name].shape != own[name].shape for name in QUEUES):
            logger.info("%s has queues of another size than model.queue_size %d: new ones.", where, self.queue_size)
            state.update({name: own[name] for name in QUEUES})
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(
                f"{where} does not fit this model; use the model_type, embed_dim and vocabulary that it was trained "
                f"with: {error}"
            ) from error

    # The step

    def forward(self, samples: dict) -> dict:
        """Contrastive, matching and captioning loss.

        Returns:
            ``loss``, ``loss_itc``, ``loss_itm``, ``loss_lm``; with ``fast`` also ``itm_accuracy`` and ``temperature``,
            without gradient, else what stock gives.

        Raises:
            ValueError: If there are no images, or features for a tower that is trained.
        """
        samples = with_image(samples)
        return self._fast_step(samples) if self.fast else super().forward(samples)

    def _fast_step(self, samples: dict) -> dict:
        captions = self._tokenize(samples["text_input"])
        with torch.no_grad():
            self.temp.clamp_(_LEAST_TEMPERATURE, _MOST_TEMPERATURE)
        tokens = self.visual_encoder(samples["image"])
        online = _features(tokens, self.vision_proj, captions, self.text_encoder, self.text_proj)
        with torch.no_grad():
            self._momentum_update()
            tokens_m = tokens if self.visual_encoder.frozen else self.visual_encoder_m(samples["image"])
            momentum = _features(tokens_m, self.vision_proj_m, captions, self.text_encoder_m, self.text_proj_m)
        alpha = self.alpha * self._rampup_factor(*(samples[k] for k in ("epoch", "iters", "num_iters_per_epoch")))
        queues = Features(self.image_queue, self.text_queue)
        loss_itc, *logits = contrastive_loss(online, momentum, queues, self.temp, alpha)
        self._dequeue_and_enqueue(*momentum)
        others = matching_and_language_losses(self, captions, tokens, logits)
        return {
            "loss": loss_itc + others["loss_itm"] + others["loss_lm"],
            "loss_itc": loss_itc,
            **others,
            "temperature": self.temp.detach().clone(),
        }

    def _tokenize(self, captions: list[str]) -> Captions:
        text = self.tokenizer(
            list(captions), padding="longest", truncation=True, max_length=self.max_txt_len, return_tensors="pt"
        )
        # Still on the CPU, where counting makes no device wait.
        follows = F.pad(text.input_ids[:, 1:] != self.tokenizer.pad_token_id, (0, 1))
        predicting = follows.flatten().nonzero()[:, 0]
        return Captions(*(part.to(self.device) for part in (text.input_ids, text.attention_mask.bool(), predicting)))

    @torch.no_grad()
    def _momentum_update(self) -> None:
        """Move the momentum encoders, all tensors of one in two kernels."""
        for followed, follower in self.model_pairs:
            moving = list(follower.parameters())
            torch._foreach_mul_(moving, self.momentum)
            torch._foreach_add_(moving, list(followed.parameters()), alpha=1 - self.momentum)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, image_feat: Tensor, text_feat: Tensor, idxs: None = None) -> None:
        """Put all processes' features in the oldest ones' places, (B, embed_dim) each.

        Differs from LAVIS: the queue may have any size from a batch on, and no device waits for its pointer.

        Raises:
            ValueError: If the batch is larger than the queue.
        """
        images, texts = concat_all_gather(image_feat), concat_all_gather(text_feat)
        if len(images) > self.queue_size:
            raise ValueError(
                f"model.queue_size is {self.queue_size}, the batch of all processes {len(images)}: raise the one or "
                "lower the other."
            )
        places = (self.queue_ptr + torch.arange(len(images), device=self.queue_ptr.device)) % self.queue_size
        self.image_queue.index_copy_(1, places, images.T.to(self.image_queue))
        self.text_queue.index_copy_(1, places, texts.T.to(self.text_queue))
        self.queue_ptr.add_(len(images)).remainder_(self.queue_size)

    def compute_sim_matrix(self, data_loader, task_cfg):
        """Scores of a retrieval set, (images, texts) and (texts, images).

        As ``blip_retrieval`` computes them: cosines, and of the best ``run.k_test`` the match logit added. With
        ``k_test: 0`` cosines alone, for a training too short for matching to have learnt anything.
        """
        if task_cfg.k_test:
            return compute_sim_matrix(model=self, data_loader=LoaderWithImages(data_loader), k_test=task_cfg.k_test)
        return cosine_matrices(LoaderWithImages(data_loader), self._embed_images, self._embed_texts)

    def _embed_images(self, samples: dict) -> Tensor:
        tokens = self.visual_encoder(samples["image"].to(self.device))
        return F.normalize(self.vision_proj(tokens[:, 0]).float(), dim=-1)

    def _embed_texts(self, texts: list[str]) -> Tensor:
        captions = self._tokenize(texts)
        read = run_layers(self.text_encoder, captions.ids, mask=captions.mask)[:, 0]
        return F.normalize(self.text_proj(read).float(), dim=-1)


def _features(tokens: Tensor, image_proj, captions: Captions, text_encoder, text_proj) -> Features:
    texts = run_layers(text_encoder, captions.ids, mask=captions.mask)[:, 0]
    return Features(*(F.normalize(x.float(), dim=-1) for x in (image_proj(tokens[:, 0]), text_proj(texts))))
