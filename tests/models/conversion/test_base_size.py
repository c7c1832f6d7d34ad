"""The names of a real BLIP-base checkpoint (12 layers), by shape alone, in stock's own packaged configs."""

import pytest
from lavis.models.blip_models.blip_pretrain import BlipPretrain
from lavis.models.med import XBertEncoder, XBertLMHeadDecoder
from lavis.models.vit import VisionTransformerEncoder
from omegaconf import OmegaConf

from lavis_tldr.models.blip.pretrain import BlipPretrainTLDR
from lavis_tldr.models.conversion.outcome import Wishes
from lavis_tldr.models.conversion.stock_shapes import NoTokenizer, without_memory
from lavis_tldr.models.conversion.targets import convert
from lavis_tldr.models.wordpiece_training import SPECIAL_TOKENS

NUM_WORDS = 30524


class Words(NoTokenizer):
    def __len__(self) -> int:
        return NUM_WORDS


class Outline(BlipPretrain):
    def init_tokenizer(self) -> Words:
        return Words()


@pytest.fixture(scope="module")
def states():
    """All names, and those that runner_base writes: without what has no gradient."""
    config = OmegaConf.load(BlipPretrain.default_config_path("base")).model
    with without_memory():
        towers = [part.from_config(config) for part in (VisionTransformerEncoder, XBertEncoder, XBertLMHeadDecoder)]
        model = Outline(*towers, queue_size=57600)
    still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    whole = model.state_dict()
    return whole, {name: value for name, value in whole.items() if name not in still}


def test_our_base_has_the_names_and_shapes_of_stocks(states, tmp_path):
    words = [*SPECIAL_TOKENS, *(f"w{i}" for i in range(NUM_WORDS - 2 - len(SPECIAL_TOKENS)))]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    config = OmegaConf.load(BlipPretrainTLDR.default_config_path("base")).model
    config.vocabulary = str(tmp_path / "vocab.txt")
    with without_memory():
        ours = BlipPretrainTLDR.from_config(config).state_dict()
    assert {name: v.shape for name, v in ours.items()} == {name: v.shape for name, v in states[0].items()}


def test_as_many_names_as_lavis_writes(states):
    assert [len(state) for state in states] == [1272, 802]


@pytest.mark.parametrize(
    ("arch", "num_weights", "num_new"),
    [
        # visual_encoder 150, text_encoder 317, text_decoder 324, projections and itm_head 2 each, temp, 3 of queues
        ("blip_retrieval", 2 * (150 + 317 + 2 + 2) + 2 + 1 + 3 + 1, 0),  # and idx_queue
        ("blip_caption", 150 + 324, 0),
        ("blip_vqa", 150 + 317 + 324, 0),
        ("blip_nlvr", 150 + 317 + 96, 4 + 12),  # 96 cross-attention weights doubled
        ("blip_classification", 2 * (150 + 317), 4 + 4),
        ("blip_image_text_matching", 150 + 317 + 2 + 2 + 2, 0),
        ("blip_feature_extractor", 150 + 317 + 2 + 2 + 1, 0),
    ],
)
def test_each_stock_model_of_its_own_size_is_filled(states, arch, num_weights, num_new):
    for state in states:
        conversion = convert({"model": state}, arch, Wishes(image_size=384))
        assert (len(conversion.content["model"]), len(conversion.new)) == (num_weights, num_new)
