"""Loading: of our checkpoints and of public weights in Hugging Face layout; in full, or an error that says why."""

import json
import logging
import pickle

import pytest
import torch
from lavis.common.registry import registry
from omegaconf import OmegaConf
from safetensors.torch import save_file
from transformers import ViltForImagesAndTextClassification, ViltForMaskedLM, ViltForQuestionAnswering
from vilts import (
    norm_eps_of_reference,
    pairs,
    plain_state,
    reference_config,
    save,
    tiny_vilt,
    vocabulary,
    write_vocabulary,
)

ARCHES = ("vilt_pretrain", "vilt_retrieval", "vilt_vqa", "vilt_nlvr", "vilt_classification")


@pytest.fixture
def answers(tmp_path) -> str:
    (tmp_path / "answers.json").write_text('["yes", "no", "red"]')
    return str(tmp_path / "answers.json")


def extras(arch: str, answers: str) -> dict:
    return {"answer_list": answers} if arch == "vilt_vqa" else {}


# Every model from its packaged default


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("model_type", ["base", "base16", "small", "tiny"])
def test_builds_from_every_packaged_default(tmp_path, answers, arch, model_type):
    """As LAVIS hands it over, at tiny size; without sizes of its own a head has its pretraining's."""
    cls = registry.get_model_class(arch)
    tiny = {"image_size": 32, "patch_size": 8, "width": 32, "depth": 1, "heads": 2, "mlp_width": 32}
    default = OmegaConf.load(cls.default_config_path(model_type)).model
    assert default.arch == arch
    words = {"vocabulary": str(write_vocabulary(tmp_path))}
    model = cls.from_config(OmegaConf.merge(default, tiny, words, extras(arch, answers)))
    assert model.vilt.sizes.dropout == (0.0 if model_type == "tiny" else 0.1)
    assert model.vilt.sizes.max_text_length == 40


def test_heads_have_their_pretrainings_sizes(tmp_path):
    sizes = [tiny_vilt(tmp_path, arch).vilt.sizes for arch in ("vilt_pretrain", "vilt_retrieval")]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("arch", "change", "message"),
    [
        ("vilt_pretrain", {"mask_ratio": 0.3}, "unknown key model.mask_ratio .did you mean 'mask_share'"),
        ("vilt_nlvr", {"mask_share": 0.3}, "unknown key model.mask_share"),
        ("vilt_retrieval", {"model_type": "bas"}, "unknown model.model_type 'bas' .did you mean 'base'"),
        ("vilt_pretrain", {"vocabulary": None}, "needs a vocabulary. Give model.vocabulary"),
        ("vilt_pretrain", {"vocabulary": "absent.txt"}, "there is no vocabulary absent.txt"),
        ("vilt_pretrain", {"load_pretrained": True}, "model.load_pretrained is True but model.pretrained names no"),
        ("vilt_pretrain", {"load_finetuned": True}, "model.load_finetuned is True but model.finetuned names no"),
        ("vilt_pretrain", {"pretrained": "a.pth"}, "model.load_pretrained is False; set it to True"),
        ("vilt_vqa", {"load_pretrained": True, "pretrained": "a.pth"}, "model.pretrained: there is no file or folder"),
    ],
)
def test_bad_configs_say_what_to_do(tmp_path, arch, change, message):
    with pytest.raises(ValueError, match=message):
        tiny_vilt(tmp_path, arch, **change)


# Our own checkpoints


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("how", ["finetuned", "pretrained"])
def test_round_trip(tmp_path, answers, arch, how):
    model = tiny_vilt(tmp_path, arch, **extras(arch, answers))
    path = save(model, tmp_path / "a.pth")
    # The checkpoint brings the vocabulary.
    again = tiny_vilt(tmp_path, arch, seed=1, vocabulary=None, **{f"load_{how}": True, how: path})
    own, loaded = plain_state(model), plain_state(again)
    assert own.keys() == loaded.keys()
    assert [name for name in own if not torch.equal(own[name], loaded[name])] == []
    assert again.tokenizer.vocabulary == vocabulary()


@pytest.mark.parametrize("arch", ARCHES[1:])
def test_heads_start_from_a_pretraining(tmp_path, answers, caplog, arch):
    pretrained = tiny_vilt(tmp_path)
    path = save(pretrained, tmp_path / "a.pth")
    with caplog.at_level(logging.INFO):
        model = tiny_vilt(tmp_path, arch, seed=1, load_pretrained=True, pretrained=path, **extras(arch, answers))
    state = plain_state(pretrained)
    differing = {
        name.split(".")[0] if not name.startswith("vilt.") else name
        for name, value in plain_state(model).items()
        if name not in state or not torch.equal(value, state[name])
    }
    third = {"vilt.embeddings.token_type_embeddings.weight"} if arch == "vilt_nlvr" else set()
    head = "classifier" if arch in ("vilt_vqa", "vilt_nlvr") else "rank_output"
    assert differing == {head} | third
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == (
        [f"{path} has no classifier: it starts random, and means nothing until it is trained."]
        if head == "classifier"
        else []
    )
    assert f"{path}: left out itm_score, mlm_score" in caplog.text


def edited(edit):
    """A checkpoint's state after ``edit``."""

    def save_edited(model, path):
        state = model.state_dict()
        edit(state)
        torch.save({"model": state}, path)
        return str(path)

    return save_edited


@pytest.mark.parametrize("how", ["pretrained", "finetuned"])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("vilt.layernorm.weight"), r"1 weights are missing \(first: vilt.layernorm.weight\)"),
        (lambda s: s.update({"vilt.more": torch.ones(1)}), r"1 weights are left over \(first: vilt.more\)"),
        (
            lambda s: s.update({"vilt.layernorm.weight": torch.ones(3)}),
            r"vilt.layernorm.weight has shape \(3,\), expected \(64,\)",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, edit, message, how):
    path = edited(edit)(tiny_vilt(tmp_path), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=f"a.pth does not fit ViltPretrain: {message}"):
        tiny_vilt(tmp_path, **{f"load_{how}": True, how: path})


@pytest.mark.parametrize(
    "change", [{"width": 32}, {"depth": 1}, {"depth": 3}, {"image_size": 64}, {"max_text_length": 20}]
)
def test_other_sizes_are_refused(tmp_path, change):
    path = save(tiny_vilt(tmp_path), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="a.pth does not fit ViltPretrain"):
        tiny_vilt(tmp_path, load_pretrained=True, pretrained=path, **change)


def test_a_trained_model_may_have_no_new_head(tmp_path):
    path = save(tiny_vilt(tmp_path), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="4 weights are missing|weights are left over"):
        tiny_vilt(tmp_path, "vilt_nlvr", load_finetuned=True, finetuned=path)


def test_a_pretraining_without_matching_says_so(tmp_path, caplog):
    """Public weights for masked words have no matching head: right only to go on training."""
    path = save(tiny_vilt(tmp_path), tmp_path / "a.pth", drop=["itm_score"])
    tiny_vilt(tmp_path, load_pretrained=True, pretrained=path)
    tiny_vilt(tmp_path, "vilt_retrieval", load_pretrained=True, pretrained=path)
    messages = [record.getMessage() for record in caplog.records]
    assert any("has no itm_score: it starts random" in message for message in messages)
    assert any("has no rank_output: it starts random" in message for message in messages)


def test_resuming_checks_the_vocabulary(tmp_path):
    model = tiny_vilt(tmp_path)
    state = model.state_dict()
    state["_extra_state"] = {**state["_extra_state"], "vocabulary": ["[PAD]"]}
    with pytest.raises(RuntimeError, match="vocabulary is not this model's"):
        model.load_state_dict(state)


class Intruder:
    def __reduce__(self):
        return (print, ("intruded",))


@pytest.mark.parametrize("content", [{"model": Intruder()}, {"model": {"weight": torch.ones(1)}}, [1]])
def test_other_files_are_refused(tmp_path, capsys, content):
    path = tmp_path / "other.pth"
    if isinstance(content, dict) and isinstance(content["model"], Intruder):
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path)
    with pytest.raises(
        ValueError, match="model.pretrained: .*(is not a ViLT in Hugging Face|no file of plain weights)"
    ):
        tiny_vilt(tmp_path, load_pretrained=True, pretrained=str(path))
    assert "intruded" not in capsys.readouterr().out


# Frozen weights, which LAVIS's runner leaves out


def test_frozen_weights_come_from_where_they_came(tmp_path):
    model = tiny_vilt(tmp_path, freeze_layers=1)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    path = save(model, tmp_path / "a.pth", drop=frozen)
    own = {name: value for name, value in plain_state(model).items()}
    same = tiny_vilt(tmp_path, load_pretrained=True, pretrained=path)  # its start is the same, by seed
    assert all(torch.equal(own[name], value) for name, value in plain_state(same).items())
    with pytest.raises(ValueError, match="leaves out 20 weights that were frozen.*model.vit_weights.*save_frozen"):
        tiny_vilt(tmp_path, seed=1, load_pretrained=True, pretrained=path)


# Public weights


def write_hugging_face(folder, reference, file="pytorch_model.bin", positions=True, labels=None):
    """As its save_pretrained writes a model: newer versions without ``position_ids``."""
    folder.mkdir()
    state = {n: v.clone() for n, v in reference.state_dict().items() if positions or not n.endswith("position_ids")}
    state.pop("mlm_score.decoder.bias", None)  # the twin of mlm_score.bias
    save_file(state, folder / file) if file.endswith("safetensors") else torch.save(state, folder / file)
    config = json.loads(reference.config.to_json_string(use_diff=False))
    (folder / "config.json").write_text(json.dumps({**config, **({"id2label": labels} if labels else {})}))
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    return str(folder)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("positions", [True, False])
def test_public_weights_load_and_compute_the_same(tmp_path, caplog, file, positions):
    reference = ViltForMaskedLM(reference_config(tiny_vilt(tmp_path), initializer_range=0.2)).eval()
    folder = write_hugging_face(tmp_path / "public", reference, file, positions)
    model = tiny_vilt(tmp_path, vocabulary=None, load_pretrained=True, pretrained=folder).eval()
    norm_eps_of_reference(model)
    ids, mask = model.tokenize(pairs()["text_input"])
    text, _ = model.vilt(ids, mask, *model.embed_image(pairs()))
    out = reference(input_ids=ids, attention_mask=mask.long(), pixel_values=pairs()["image"])
    torch.testing.assert_close(model.mlm_score(text)[mask], out.logits[mask], atol=1e-4, rtol=1e-4)
    assert "has no itm_score: it starts random" in caplog.text


def test_a_single_file_needs_a_vocabulary_of_its_own(tmp_path):
    reference = ViltForMaskedLM(reference_config(tiny_vilt(tmp_path)))
    file = write_hugging_face(tmp_path / "public", reference) + "/pytorch_model.bin"
    assert tiny_vilt(tmp_path, load_pretrained=True, pretrained=file).tokenizer.vocabulary == vocabulary()
    with pytest.raises(ValueError, match="needs a vocabulary"):
        tiny_vilt(tmp_path, vocabulary=None, load_pretrained=True, pretrained=file)


def test_public_answers_and_their_names(tmp_path, answers):
    config = reference_config(tiny_vilt(tmp_path), num_labels=3)
    reference = ViltForQuestionAnswering(config).eval()
    folder = write_hugging_face(tmp_path / "public", reference, labels={"1": "no", "0": "yes", "2": "red"})
    model = tiny_vilt(tmp_path, "vilt_vqa", vocabulary=None, load_finetuned=True, finetuned=folder)
    assert model.answers == ["yes", "no", "red"]
    # Fine-tuned with all it needs, as two images are.
    config = reference_config(tiny_vilt(tmp_path, "vilt_nlvr"), num_images=2, num_labels=2)
    folder = write_hugging_face(tmp_path / "nlvr", ViltForImagesAndTextClassification(config))
    tiny_vilt(tmp_path, "vilt_nlvr", vocabulary=None, load_finetuned=True, finetuned=folder)


def test_other_heads_count_is_noticed(tmp_path):
    """Any number of heads that divides the width has the same weights."""
    reference = ViltForMaskedLM(reference_config(tiny_vilt(tmp_path)))
    folder = write_hugging_face(tmp_path / "public", reference)
    with pytest.raises(ValueError, match="it has 2 attention heads, model.heads is 4"):
        tiny_vilt(tmp_path, load_pretrained=True, pretrained=folder, heads=4)


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds neither model.safetensors nor pytorch_model.bin"):
        tiny_vilt(tmp_path, load_pretrained=True, pretrained=str(tmp_path / "empty"))
