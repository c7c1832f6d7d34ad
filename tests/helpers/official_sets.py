"""Downstream sets in the layouts that their authors give them, as small as shows each trap, and tiny checkpoints."""

import json
import pickle
from pathlib import Path

import clips
import torch
import vilts
from clips_of_grey import write_clip
from lavis.common.registry import registry
from omegaconf import OmegaConf
from PIL import Image

from lavis_tldr.environment.offline import character_vocabulary

PROCESSOR = {"name": "blip_image_eval", "image_size": 32}
COLOURS = ("red", "green", "blue", "white", "black")


def write_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_image(path: Path, colour="red", size=(40, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


# Sets


def lay_out_karpathy(root: Path, captions: dict[int, list[str]], name: str) -> None:
    """COCO's photos of these numbers and their captions, all of the split test."""
    images = []
    for (number, own), colour in zip(captions.items(), COLOURS, strict=False):
        file = f"COCO_val2014_{number:012d}.jpg"
        write_image(root / name / "images" / "val2014" / file, colour)
        sentences = [{"raw": text, "tokens": text.split(), "imgid": 0, "sentid": n} for n, text in enumerate(own)]
        place = {"filepath": "val2014", "filename": file, "cocoid": number, "imgid": 0, "split": "test"}
        images.append({**place, "sentids": [s["sentid"] for s in sentences], "sentences": sentences})
    # Conversion wants an image of each split.
    others = [
        {**images[0], "split": split, "cocoid": n, "filename": f"COCO_val2014_{n:012d}.jpg"}
        for n, split in ((1, "train"), (2, "val"))
    ]
    write_json(root / name / "dataset_coco.json", {"images": [*others, *images], "dataset": "coco"})


def lay_out_nocaps(root: Path, captions: dict[int, list[str]], domains: dict[int, str]) -> None:
    images = []
    for (number, domain), colour in zip(domains.items(), COLOURS, strict=False):
        write_image(root / "nocaps" / "images" / "val" / f"00{number}a.jpg", colour)
        place = {"file_name": f"00{number}a.jpg", "open_images_id": f"00{number}a"}
        images.append({"id": number, **place, "domain": domain, "height": 32, "width": 40})
    told = [(number, text) for number, own in captions.items() for text in own]
    annotations = [{"id": n, "image_id": number, "caption": text} for n, (number, text) in enumerate(told)]
    write_json(root / "nocaps" / "nocaps_val_4500_captions.json", {"images": images, "annotations": annotations})


def lay_out_vqa(root: Path, answered: dict[int, tuple[str, list[str]]]) -> None:
    """Questions of val2014 by id: the type of the answer and ten people's."""
    head = {"info": {}, "license": {}, "task_type": "Open-Ended", "data_type": "mscoco", "data_subtype": "val2014"}
    questions, annotations = [], []
    for number, (kind, people) in answered.items():
        file = f"COCO_val2014_{number:012d}.jpg"
        write_image(root / "vqa" / "images" / "val2014" / file, COLOURS[number % len(COLOURS)])
        asked = {"question_id": 1000 * number, "image_id": number}
        questions.append({**asked, "question": "How many dogs?"})
        answers = [{"answer": a, "answer_confidence": "yes", "answer_id": n} for n, a in enumerate(people, 1)]
        about = {"question_type": "how many", "answer_type": kind, "multiple_choice_answer": people[0]}
        annotations.append({**asked, **about, "answers": answers})
    write_json(root / "vqa" / "v2_OpenEnded_mscoco_val2014_questions.json", {**head, "questions": questions})
    write_json(root / "vqa" / "v2_mscoco_val2014_annotations.json", {**head, "annotations": annotations})


def lay_out_nlvr2(root: Path, examples: dict[str, str]) -> None:
    """Labels by identifier; files of the splits that are named."""
    lines: dict[str, list[str]] = {}
    for number, (identifier, label) in enumerate(examples.items()):
        split, *_ = identifier.split("-")
        pair = identifier.rpartition("-")[0]
        for side in range(2):
            write_image(root / "nlvr2" / split / f"{pair}-img{side}.png", COLOURS[(number + side) % len(COLOURS)])
        example = {"identifier": identifier, "sentence": "One dog.", "left_url": "u", "right_url": "v", "label": label}
        lines.setdefault(split, []).append(json.dumps({**example, "writer": "9", "validation": {"9": label}}))
    (root / "nlvr2" / "data").mkdir()
    for split, found in lines.items():
        (root / "nlvr2" / "data" / f"{split}.json").write_text("\n".join(found) + "\n")


def lay_out_refcoco(root: Path, refs: list[dict], boxes: dict[int, dict[int, list]], proposals: dict) -> None:
    """Refs as {image_id, ann_id, split, sentences}; boxes by image and object; proposals by image."""
    folder = root / "refcoco+"
    names = {image: f"COCO_train2014_{image:012d}.jpg" for image in boxes}
    for name, colour in zip(names.values(), COLOURS, strict=False):
        write_image(folder / "train2014" / name, colour, size=(100, 50))
    annotations = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0, "area": box[2] * box[3]}
        for image, own in boxes.items()
        for number, box in own.items()
    ]
    images = [{"id": image, "file_name": name, "height": 50, "width": 100} for image, name in names.items()]
    write_json(folder / "instances.json", {"images": images, "annotations": annotations, "categories": []})
    write_json(folder / "dets.json", {str(image): found for image, found in proposals.items()})
    written, sent_id = [], 0
    for ref_id, ref in enumerate(refs):
        sentences = [{"sent": text, "raw": text.title(), "tokens": text.split()} for text in ref["sentences"]]
        for sentence in sentences:
            sentence["sent_id"], sent_id = sent_id, sent_id + 1
        # The name in refs has the object's number in it.
        name = names[ref["image_id"]].replace(".jpg", "_3.jpg")
        written.append({**ref, "ref_id": ref_id, "category_id": 1, "file_name": name, "sentences": sentences})
    (folder / "refs(unc).p").write_bytes(pickle.dumps(written, protocol=2))


def lay_out_msrvtt(root: Path, captions: dict[str, str], short: str, column: str = "sentence") -> None:
    """Clips of a grey each, 20 frames long, and 5 the one that is short; captions in no order of ids."""
    (root / "msrvtt" / "videos").mkdir(parents=True)
    for place, name in enumerate(sorted(captions)):
        path = root / "msrvtt" / "videos" / f"{name}.mp4"
        write_clip(path, 5 if name == short else 20, first=40 + 50 * place, step=0)
    rows = [f"ret{n},msr{name[5:]},{name},{text}\n" for n, (name, text) in enumerate(captions.items())]
    (root / "msrvtt" / "MSRVTT_JSFUSION_test.csv").write_text(f"key,vid_key,video_id,{column}\n" + "".join(rows))


def lay_out_class_folders(folder: Path, counts: dict[str, int], colours=COLOURS) -> None:
    """Images a wnid, and the README that the archives have."""
    for (wnid, count), colour in zip(counts.items(), colours, strict=False):
        for number in range(count):
            write_image(folder / wnid / f"{number}.jpg", colour, size=(40 + number, 32))
    (folder / "README.txt").write_text("about it")


# Checkpoints


def _save(folder: Path, model, config) -> Path:
    """As our runners save: weights, and the config that they were trained with."""
    sections = {"model": OmegaConf.to_container(config), "run": {"seed": 0}}
    sections["datasets"] = {"trained_on": {"vis_processor": {"eval": PROCESSOR}}}
    path = folder / "checkpoint_last.pth"
    torch.save({"model": model.state_dict(), "config": sections}, path)
    return path


def _scattered(model):
    """All weights large: as they start, everything would look alike."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def write_clip_checkpoint(folder: Path):
    """Of clip_pretrain; the model and the file."""
    folder.mkdir(parents=True)
    config = clips.tower_config(folder)
    model = _scattered(registry.get_model_class("clip_pretrain").from_config(config))
    return model, _save(folder, model, config)


def write_vilt_checkpoint(folder: Path, arch: str, says: int | None = None, **changes) -> Path:
    """Of a ViLT; ``says`` is the one class that a classifier tells of all."""
    folder.mkdir(parents=True)
    config = vilts.tiny_config(folder, arch, **changes)
    model = _scattered(registry.get_model_class(arch).from_config(config))
    if says is not None:
        *_, weight, bias = model.classifier.parameters()
        weight.data.zero_()
        bias.data.zero_()[says] = 1
    return _save(folder, model, config)


def write_blip_checkpoint(folder: Path, says: str | None = None) -> Path:
    """Of blip_pretrain_tldr; ``says`` is the one letter that it writes of all images."""
    folder.mkdir(parents=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(character_vocabulary()) + "\n")
    cls = registry.get_model_class("blip_pretrain_tldr")
    config = OmegaConf.load(cls.default_config_path("tiny")).model
    config = OmegaConf.merge(config, {"model_type": "tiny", "vocabulary": str(vocabulary)})
    model = _scattered(cls.from_config(config))
    if says is not None:
        model.text_decoder.cls.predictions.bias.data[model.tokenizer.convert_tokens_to_ids(says)] = 1e4
    return _save(folder, model, config)
