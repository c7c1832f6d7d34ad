"""A pretraining by stock LAVIS is converted on the way to its evaluations."""

import tiny_blip
import torch
from omegaconf import OmegaConf

from lavis_tldr.suite.command import evaluate
from lavis_tldr.suite.results import read_result


def test_a_stock_blip_pretraining_is_evaluated_as_stock_retrieval(toys, album, tmp_path, monkeypatch):
    tiny_blip.register_tiny(tmp_path, monkeypatch)
    sizes = OmegaConf.to_container(OmegaConf.load(tmp_path / "blip_tiny.yaml").model)
    model = tiny_blip.build_tiny_pretraining()
    config = {"model": {"arch": "blip_pretrain", "model_type": "base", **sizes}, "run": {"seed": 4}}
    (tmp_path / "stock").mkdir()
    checkpoint = tmp_path / "stock" / "checkpoint_last.pth"
    torch.save({"model": model.state_dict(), "config": config}, checkpoint)

    places = f"{album.source['annotations']},{album.source['image_root']}"
    asked = {"out": tmp_path / "out", "device": "cpu", "retrieval": [f"photos={places}"]}
    options = [
        "run.num_workers=0",
        f"vis_processor.image_size={tiny_blip.IMAGE_SIZE}",
        "vis_processor.name=blip_image_eval",
    ]
    (outcome,) = evaluate(checkpoint, options=options, **asked)
    assert outcome.status == "done", outcome.told
    folder = tmp_path / "out" / "stock" / "blip_pretrain_zero-shot_seed4"
    result = read_result(folder / "photos_retrieval.json")
    assert (result.family, result.arch) == ("BLIP", "blip_pretrain") and result.settings["test"]["model"][
        "arch"
    ] == "blip_retrieval"
    converted = torch.load(folder / "converted" / "blip_retrieval.pth", weights_only=True)["model"]
    assert torch.equal(converted["itm_head.weight"], model.state_dict()["itm_head.weight"])
    # done already: nothing is converted again
    (folder / "converted" / "blip_retrieval.pth").unlink()
    (outcome,) = evaluate(checkpoint, options=options, **asked)
    assert outcome.status == "kept" and not (folder / "converted" / "blip_retrieval.pth").exists()
