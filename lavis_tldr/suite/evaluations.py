"""ONE table of the evaluations: what each measures, on which set, by which task, and what a model must be able to do.

Another evaluation is another entry; the command, the tables and the README's overview go by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lavis_tldr.skills import ANSWER, COMPARE, DESCRIBE, MATCH
from lavis_tldr.user_errors import closest


@dataclass(frozen=True)
class Figure:
    """A number of a task's result.

    Attributes:
        name: In the result.
        title: In tables.
        unit: "%" or "".
        higher_is_better: Its direction.
    """

    name: str
    title: str
    unit: str = "%"
    higher_is_better: bool = True


@dataclass(frozen=True)
class Split:
    """A part of a set that is measured on.

    Attributes:
        title: In tables, such as "test-P".
        name: Of the run's split that the task evaluates.
        needs: Paths of the set's files that it takes, as `DownstreamSet.files` has them.
    """

    title: str
    name: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes:
        name: As ``--evaluations`` knows it.
        title: In tables.
        tables: Of the paper, in which it stands.
        set: Name of the `DownstreamSet`.
        task: LAVIS's name of the task.
        dataset: LAVIS's name of the dataset.
        skill: What the model must be able to do; `architectures` tells who can.
        splits: What is measured on. Those whose files are missing are left out.
        section: The dataset's config: given the set's folder and a split.
        figures: What is reported of each split; a result may lack some (domains of NoCaps).
        run: Settings under ``run``.
        run_of: The same for models of a family alone.
        apart: Each split is a run of its own.
        folder: Of a set that is none of the catalogue's; None: below the data root.
    """

    name: str
    title: str
    tables: tuple[str, ...]
    set: str
    task: str
    dataset: str
    skill: str
    splits: tuple[Split, ...]
    section: Callable[[Path, Split], dict]
    figures: tuple[Figure, ...]
    run: Mapping = field(default_factory=dict)
    run_of: Mapping[str, Mapping] = field(default_factory=dict)
    apart: bool = False
    folder: Path | None = None  # of a set of the user's own


RETRIEVAL_FIGURES = (
    *(Figure(f"txt_r{k}", f"TR@{k}") for k in (1, 5, 10)),
    *(Figure(f"img_r{k}", f"IR@{k}") for k in (1, 5, 10)),
    Figure("r_mean", "mean recall"),
)


def _source(annotations: str, images: str = "images") -> Callable[[Path, Split], dict]:
    """Section of a dataset that reads sources: an annotation list of LAVIS's and the folder of its images."""
    return lambda folder, split: {
        split.name: {
            "format": "lavis_json",
            "annotations": str(folder / annotations),
            "image_root": str(folder / images),
        }
    }


def _lists(annotations: Mapping[str, str], images: str, **more: str) -> Callable[[Path, Split], dict]:
    """Section of a dataset that reads lists: by the split's title, and the folder of its images."""
    return lambda folder, split: {
        split.name: {
            "annotations": str(folder / annotations[split.title]),
            "image_root": str(folder / images),
            **{key: str(folder / file) for key, file in more.items()},
        }
    }


def _retrieval(name: str, title: str, tables: tuple[str, ...], set_name: str, split: Split, k_test: int) -> Evaluation:
    return Evaluation(
        name=name,
        title=title,
        tables=tables,
        set=set_name,
        task="tldr_retrieval_eval",
        dataset="tldr_retrieval",
        skill=MATCH,
        splits=(split,),
        section=_source(split.needs[0]),
        figures=RETRIEVAL_FIGURES,
        run_of={"BLIP": {"k_test": k_test}},
    )


def _zero_shot(name: str, title: str, set_name: str, split: Split) -> Evaluation:
    return Evaluation(
        name=name,
        title=title,
        tables=("6", "8") if set_name == "imagenet" else ("6",),
        set=set_name,
        task="tldr_zero_shot",
        dataset="tldr_zero_shot",
        skill=MATCH,
        splits=(split,),
        section=lambda folder, split: {"set": name, "root": str(folder)},
        figures=(Figure("acc", "top-1"), Figure("acc5", "top-5"), Figure("chance", "chance")),
    )


_VAL2014, _KARPATHY = "images/val2014/*.jpg", "coco_karpathy_test.json"
_DOMAINS = ("in-domain", "near-domain", "out-domain")
_NLVR2 = {"dev": "nlvr_dev.json", "test-P": "nlvr_test.json"}

_ALL = (
    _retrieval(
        "coco_retrieval",
        "COCO retrieval",
        ("3",),
        "coco",
        Split("test", "test", (f"annotations/{_KARPATHY}", _VAL2014)),
        k_test=256,  # as BLIP re-ranks
    ),
    _retrieval(
        "flickr30k_retrieval",
        "Flickr30K retrieval",
        ("3", "8"),
        "flickr30k",
        Split("test", "test", ("annotations/flickr30k_test.json", "images/flickr30k-images/*.jpg")),
        k_test=128,
    ),
    Evaluation(
        name="vqa",
        title="VQA v2",
        tables=("4", "8"),
        set="vqa",
        task="tldr_vqa",
        dataset="tldr_vqa",
        skill=ANSWER,
        # test-dev and test-std are scored by a server: the task writes the file for it.
        splits=(Split("val2014", "val", ("vqa_val.json", _VAL2014)),),
        section=_lists({"val2014": "vqa_val.json"}, "images"),
        figures=(
            Figure("acc", "accuracy"),
            *(Figure(f"acc_{kind}", kind) for kind in ("yes/no", "number", "other")),
        ),
        # The paper: "an answer generation task that allows open-vocabulary VQA".
        run_of={"BLIP": {"inference_method": "generate"}, "ViLT": {"inference_method": "rank"}},
    ),
    Evaluation(
        name="nlvr2",
        title="NLVR2",
        tables=("4", "8"),
        set="nlvr2",
        task="tldr_nlvr",
        dataset="tldr_nlvr",
        skill=COMPARE,
        splits=(
            Split("dev", "val", (_NLVR2["dev"], "dev/*.png")),
            Split("test-P", "test", (_NLVR2["test-P"], "test1/*.png")),
        ),
        section=_lists(_NLVR2, "."),
        figures=(Figure("acc", "accuracy"), Figure("consistency", "consistency")),
    ),
    Evaluation(
        name="refcoco_plus",
        title="RefCOCO+",
        tables=("4",),
        set="refcoco+",
        task="tldr_grounding",
        dataset="tldr_grounding",
        skill=MATCH,
        splits=tuple(
            Split(name, "test", (f"refcoco+_{name}.json", "train2014/*.jpg")) for name in ("val", "testA", "testB")
        ),
        section=lambda folder, split: {"path": str(folder), "split": split.title},
        figures=(Figure("acc", "ground-truth boxes"), Figure("acc_detected", "proposals")),
        apart=True,
    ),
    Evaluation(
        name="coco_caption",
        title="COCO captions",
        tables=("4",),
        set="coco-caption",
        task="tldr_captioning",
        dataset="tldr_captioning",
        skill=DESCRIBE,
        splits=(Split("test", "test", (_KARPATHY, "coco_karpathy_test_gt.json", _VAL2014)),),
        section=_lists({"test": _KARPATHY}, "images", ground_truth="coco_karpathy_test_gt.json"),
        figures=(Figure("bleu4", "B@4"), Figure("cider", "CIDEr", unit="")),
    ),
    Evaluation(
        name="nocaps",
        title="NoCaps",
        tables=("4", "8"),
        set="nocaps",
        task="tldr_captioning",
        dataset="tldr_captioning",
        skill=DESCRIBE,
        splits=(Split("val", "val", ("nocaps_val.json", "images/val/*.jpg")),),
        section=_lists({"val": "nocaps_val.json"}, "images"),
        figures=(
            Figure("bleu4", "B@4"),
            Figure("cider", "CIDEr", unit=""),
            *(Figure(f"cider_{domain}", f"CIDEr {domain}", unit="") for domain in _DOMAINS),
        ),
        run={"repetition_penalty": 1.1},  # BLIP's here; of COCO's captions 1.0
    ),
    Evaluation(
        name="msrvtt",
        title="MSRVTT",
        tables=("5",),
        set="msrvtt",
        task="tldr_video_retrieval",
        dataset="tldr_video_retrieval",
        skill=MATCH,
        splits=(Split("test", "test", ("msrvtt_test.json", "videos/*.mp4")),),
        section=lambda folder, split: {"path": str(folder)},
        figures=(
            *(Figure(f"vid_r{k}", f"R@{k}") for k in (1, 5, 10)),
            Figure("vid_mdr", "MdR", unit="", higher_is_better=False),
        ),
    ),
    _zero_shot("imagenet", "ImageNet", "imagenet", Split("val", "val", ("val/n*/*.JPEG",))),
    _zero_shot("imagenet_a", "ImageNet-A", "imagenet-a", Split("test", "val", ("n*/*.jpg",))),
    _zero_shot("imagenet_r", "ImageNet-R", "imagenet-r", Split("test", "val", ("n*/*.jpg",))),
)
EVALUATIONS: dict[str, Evaluation] = {evaluation.name: evaluation for evaluation in _ALL}
SUITES = {"paper": tuple(EVALUATIONS)}


def choose(names: Iterable[str]) -> list[Evaluation]:
    """The evaluations of these names.

    Raises:
        ValueError: If one is unknown.
    """
    names = list(names)
    for name in names:
        if name not in EVALUATIONS:
            raise ValueError(f"there is no evaluation {name!r}{closest(name, EVALUATIONS)}.")
    return [EVALUATIONS[name] for name in names]
