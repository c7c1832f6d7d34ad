"""RefCOCO+ (Yu et al., arXiv:1608.00272): expressions that each refer to one object of an image.

Official files are those of the `refer` interface: ``refs(unc).p``, a pickle of Python 2, and ``instances.json``, in the
layout of COCO's instances. Proposals of a detector come as ALBEF gives them (``dets.json``, by image id) or as MAttNet
does (a list of detections). `convert` makes of them plain lists, one for each split, a row for each sentence:

    [{"image": "train2014/COCO_train2014_000000000009.jpg", "image_id": 9, "ref_id": 5, "sent_id": 7,
      "text": "man in red", "boxes": [[x, y, w, h], ...], "target": 0, "proposals": [[x, y, w, h], ...]}]

``boxes`` are those of all objects that are annotated in the image, in the file's order; ``target`` is the place of the
one referred to. ``proposals`` is absent where no file has any. Boxes are in pixels.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from lavis_tldr.datasets.downstream.json_files import read_json, write_json
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile
from lavis_tldr.datasets.downstream.plain_pickle import read_plain_pickle

SPLITS = ("train", "val", "testA", "testB")
REFS, INSTANCES = "refs(unc).p", "instances.json"
PROPOSALS = ("dets.json", "res101_coco_minus_refer_notime_dets.json")
IMAGES = "train2014"

Box = list[float]  # x, y, w, h


def annotation_file(folder: Path, split: str) -> Path:
    """The list of a split, below the set's folder."""
    return folder / f"refcoco+_{split}.json"


def convert(folder: Path) -> list[str]:
    """Make the lists of all splits from the official files; see `DownstreamSet`.

    Raises:
        ValueError: If a file is missing or of another layout, a split unknown, an id absent or doubled.
    """
    refs, instances = folder / REFS, folder / INSTANCES
    for path in (refs, instances):
        if not path.is_file():
            raise ValueError(f"{path} is missing: RefCOCO+ is made from {REFS} and {INSTANCES}.")
    names, objects = _read_instances(instances)
    proposals = _read_proposals(folder)
    rows = _rows(read_plain_pickle(refs), refs, names, objects, proposals)
    told = []
    for split, found in rows.items():
        path = annotation_file(folder, split)
        write_json(path, found)
        images = {row["image_id"] for row in found}
        line = f"{path.name}: {len(found):,} sentences of {len({row['ref_id'] for row in found}):,} objects"
        line += f" in {len(images):,} images"
        if proposals is None:
            line += f"; without proposals ({PROPOSALS[0]} is not there)"
        elif without := len([image for image in images if not proposals.get(image)]):
            line += f"; {without:,} images have no proposal, and count as wrong with proposals"
        told.append(line)
    return told


def _rows(refs: Any, path: Path, names: dict, objects: dict, proposals: dict | None) -> dict[str, list[dict]]:
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise ValueError(f"{path} holds no list of refs; expected [{{'ref_id', 'ann_id', 'image_id', ...}}].")
    rows: dict[str, list[dict]] = {split: [] for split in SPLITS}
    seen = set()
    for ref in refs:
        try:
            split, image_id, ann_id, ref_id = (ref[key] for key in ("split", "image_id", "ann_id", "ref_id"))
            sentences = [(sentence["sent_id"], sentence["sent"]) for sentence in ref["sentences"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: a ref lacks {error}; it has {sorted(ref)}.") from error
        if split not in rows:
            raise ValueError(
                f"{path}: ref {ref_id} is of split {split!r}; expected {', '.join(SPLITS)}. (Mirrors call testA "
                '"test": take the official file.)'
            )
        found = objects.get(image_id, {})
        if ann_id not in found:
            raise ValueError(f"{path}: ref {ref_id} is object {ann_id} of image {image_id}, which {INSTANCES} lacks.")
        about = {
            "image": f"{IMAGES}/{names[image_id]}",  # ref["file_name"] has the object's number in it
            "image_id": image_id,
            "ref_id": ref_id,
        }
        boxes = {"boxes": list(found.values()), "target": list(found).index(ann_id)}
        if proposals is not None:
            boxes["proposals"] = proposals.get(image_id, [])
        for sent_id, text in sentences:
            if sent_id in seen:
                raise ValueError(f"{path}: sentence {sent_id} is there twice.")
            seen.add(sent_id)
            rows[split].append({**about, "sent_id": sent_id, "text": text, **boxes})
    return rows


def _read_instances(path: Path) -> tuple[dict[int, str], dict[int, dict[int, Box]]]:
    """File names by image id, and boxes by image id and object id."""
    content = read_json(path)
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        objects: dict[int, dict[int, Box]] = defaultdict(dict)
        for annotation in content["annotations"]:
            if annotation["id"] in objects[annotation["image_id"]]:
                raise ValueError(f"{path}: object {annotation['id']} is there twice.")
            objects[annotation["image_id"]][annotation["id"]] = _box(annotation["bbox"], path)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is of another layout ({error}); expected COCO's instances.") from error
    if unknown := sorted(set(objects) - set(names)):
        raise ValueError(f"{path} has objects in image {unknown[0]}, which it does not list.")
    return names, objects


def _read_proposals(folder: Path) -> dict[int, list[Box]] | None:
    """Proposals by image id, of whichever file is there, in its order; None where there is none."""
    path = next((folder / name for name in PROPOSALS if (folder / name).is_file()), None)
    if path is None:
        return None
    content = read_json(path)
    try:
        if isinstance(content, dict):  # ALBEF: {"9": [[x, y, w, h, ...]]}
            return {int(image): [_box(box, path) for box in boxes] for image, boxes in content.items()}
        found: dict[int, list[Box]] = defaultdict(list)
        for detection in content:  # MAttNet: [{"image_id", "box"}]
            found[int(detection["image_id"])].append(_box(detection["box"], path))
        return found
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is of another layout ({error}); expected ALBEF's {{\"image id\": [[x, y, w, h]]}} or MAttNet's "
            '[{"image_id", "box"}].'
        ) from error


def _box(values: list, path: Path) -> Box:
    box = [float(value) for value in values[:4]]
    if len(box) < 4 or not (box[2] >= 0 and box[3] >= 0):
        raise ValueError(f"{path} has the box {values}; expected x, y, width, height.")
    return box


_REFER = "https://github.com/lichengunc/refer"

REFCOCO_PLUS = DownstreamSet(
    name="refcoco+",
    title="RefCOCO+",
    terms="expressions: refer names no licence; images: COCO's, each under its Flickr licence",
    files=(
        NeededFile(REFS, "expressions (a pickle of Python 2; read without running anything)", _REFER),
        NeededFile(INSTANCES, "all objects of their images", _REFER),
        NeededFile(f"{IMAGES}/*.jpg", "COCO's train2014 images (a link will do)", "https://cocodataset.org/#download"),
        NeededFile(
            PROPOSALS[0],
            f"proposals of MAttNet's detector, for acc_detected alone (or {PROPOSALS[1]})",
            "https://github.com/salesforce/ALBEF#visual-grounding",
        ),
        *(NeededFile(annotation_file(Path(), s).name, f"sentences of {s}", "", made=True) for s in SPLITS),
    ),
    convert=convert,
)
