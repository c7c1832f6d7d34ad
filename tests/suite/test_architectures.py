"""Who can take which evaluation, by EVALUATIONS.md's table of architectures."""

import pytest

from lavis_tldr import cli
from lavis_tldr.suite.architectures import AFTER_FINE_TUNING, ARCHITECTURES, FAMILIES, IMPOSSIBLE, refusal
from lavis_tldr.suite.evaluations import EVALUATIONS

MATCHING = {"coco_retrieval", "flickr30k_retrieval", "refcoco_plus", "msrvtt", "imagenet", "imagenet_a", "imagenet_r"}
TAKEN = {
    "clip_pretrain": MATCHING,
    "vilt_pretrain": MATCHING,
    "blip_pretrain": MATCHING | {"coco_caption", "nocaps"},
    "blip_pretrain_tldr": MATCHING | {"coco_caption", "nocaps"},
    "vilt_retrieval": MATCHING,
    "blip_retrieval": MATCHING,
    "vilt_vqa": {"vqa"},
    "vilt_nlvr": {"nlvr2"},
    "blip_vqa": {"vqa"},
    "blip_nlvr": {"nlvr2"},
    "blip_caption": {"coco_caption", "nocaps"},
    "blip_caption_tldr": {"coco_caption", "nocaps"},
}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_a_checkpoint_takes(arch):
    assert {name for name, e in EVALUATIONS.items() if refusal(arch, e) is None} == TAKEN[arch]


@pytest.mark.parametrize(
    ("arch", "name", "told"),
    [
        ("clip_pretrain", "vqa", "no layers that fuse"),
        ("clip_pretrain", "nlvr2", "two images"),
        ("clip_pretrain", "nocaps", "no text decoder"),
        ("vilt_pretrain", "coco_caption", "no autoregressive decoder"),
        ("vilt_vqa", "coco_caption", "no autoregressive decoder"),
        ("vilt_pretrain", "vqa", "fine-tuning first, as vilt_vqa"),
        ("blip_pretrain_tldr", "nlvr2", "fine-tuning first, as blip_nlvr"),
        ("blip_vqa", "coco_retrieval", "fine-tuned for another task"),
    ],
)
def test_a_refusal_is_a_sentence(arch, name, told):
    assert told in refusal(arch, EVALUATIONS[name])


def test_every_model_and_family_is_told_of():
    from lavis.common.registry import registry

    import lavis_tldr

    lavis_tldr.register()
    for arch, found in ARCHITECTURES.items():
        assert registry.get_model_class(arch) is not None and found.family in FAMILIES
        assert all(registry.get_model_class(load.arch) is not None for load in found.skills.values())
    for family in FAMILIES:
        pretrained = {s for f in ARCHITECTURES.values() if f.family == family and not f.finetuned for s in f.skills}
        for skill in {e.skill for e in EVALUATIONS.values()} - pretrained:
            assert ((family, skill) in IMPOSSIBLE) != ((family, skill) in AFTER_FINE_TUNING)


def test_tasks_datasets_and_sets_are_registered():
    from lavis.common.registry import registry

    import lavis_tldr
    from lavis_tldr.datasets.downstream.catalogue import SETS

    lavis_tldr.register()
    for evaluation in EVALUATIONS.values():
        assert registry.get_task_class(evaluation.task) is not None, evaluation.task
        assert registry.get_builder_class(evaluation.dataset) is not None, evaluation.dataset
        paths = {file.path for file in SETS[evaluation.set].files}
        assert {path for split in evaluation.splits for path in split.needs} <= paths, evaluation.set


def test_the_overview(capsys):
    assert cli.main(["evaluations"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(EVALUATIONS)
    (vqa,) = [line for line in lines if "`vqa`" in line]
    assert "never: CLIP" in vqa and "fine-tuned as `vilt_vqa`" in vqa and "fine-tuned as `blip_vqa`" in vqa
