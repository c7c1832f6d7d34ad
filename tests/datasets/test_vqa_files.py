"""VQA v2: official files to LAVIS's lists, the list of answers, and what is refused."""

import json

import pytest
from drawn_questions import ANSWERS, drawn_vqa, plain_processors, vqa_rows, write_list
from lavis.common.registry import registry
from lavis.datasets.datasets.coco_vqa_datasets import COCOVQADataset, COCOVQAEvalDataset
from omegaconf import OmegaConf

from lavis_tldr.datasets.downstream.vqa import VQA, annotations_file, frequent_answers, questions_file
from lavis_tldr.datasets.tldr_vqa import VqaBuilder

HEAD = {"info": {}, "license": {}, "task_type": "Open-Ended", "data_type": "mscoco"}
ASKED = {"image_id": 42, "question": "Is it red?", "question_id": 42000}
PEOPLE = ["yes"] * 7 + ["no"] * 3
TOLD = {
    **{"question_id": 42000, "image_id": 42, "question_type": "is it", "answer_type": "yes/no"},
    "multiple_choice_answer": "yes",
    "answers": [{"answer": text, "answer_confidence": "yes", "answer_id": n} for n, text in enumerate(PEOPLE, 1)],
}


def write_official(folder, splits=("train2014", "val2014", "test2015"), questions=(ASKED,), annotations=(TOLD,)):
    for split in splits:
        (folder / questions_file(split)).write_text(json.dumps({**HEAD, "questions": list(questions)}))
        if split != "test2015":
            (folder / annotations_file(split)).write_text(json.dumps({**HEAD, "annotations": list(annotations)}))


def read(path):
    return json.loads(path.read_text())


# Conversion


def test_official_files_become_lavis_lists(tmp_path):
    write_official(tmp_path)
    told = VQA.convert(tmp_path)
    common = {"question_id": 42000, "question": "Is it red?", "dataset": "vqa"}
    assert read(tmp_path / "vqa_val.json") == [
        {
            **common,
            "image": "val2014/COCO_val2014_000000000042.jpg",
            "answer": PEOPLE,
            "answer_type": "yes/no",
        }
    ]
    assert read(tmp_path / "vqa_train.json")[0]["image"] == "train2014/COCO_train2014_000000000042.jpg"
    assert read(tmp_path / "vqa_test.json") == [{**common, "image": "test2015/COCO_test2015_000000000042.jpg"}]
    assert told == [
        "vqa_train.json: 1 questions.",
        "vqa_val.json: 1 questions.",
        "vqa_test.json: 1 questions, without answers.",
        "answer_list.json: 0 answers, each the main one of 9 questions or more.",
    ]
    made = {file.path for file in VQA.files if file.made}
    assert made == {"vqa_train.json", "vqa_val.json", "vqa_test.json", "answer_list.json"}


def test_answers_to_choose_from_are_frequent_normal_and_in_a_fixed_order():
    """A tie goes by the text; "the" is empty without its article."""
    seen = ["Two."] * 5 + ["2"] * 5 + ["red"] * 9 + ["dog"] * 9 + ["cat"] * 8 + ["the"] * 20 + ["yes"] * 30
    expected = ["yes", "2", "dog", "red"]
    assert frequent_answers(seen) == expected
    assert frequent_answers(reversed(seen)) == expected


def test_answers_are_counted_over_train_and_val(tmp_path):
    def asked(first, count):
        return [{**row, "question_id": n} for row in (ASKED,) for n in range(first, first + count)]

    def told(first, count):
        return [{**TOLD, "question_id": n} for n in range(first, first + count)]

    write_official(tmp_path, ["train2014"], asked(0, 5), told(0, 5))
    lines = VQA.convert(tmp_path)
    assert lines[1].startswith("vqa_val.json: not made, v2_OpenEnded_mscoco_val2014_questions.json and v2_mscoco_val")
    assert lines[-1] == "answer_list.json: not made, it takes both train and val."
    write_official(tmp_path, ["val2014"], asked(9, 4), told(9, 4))
    VQA.convert(tmp_path)
    assert read(tmp_path / "answer_list.json") == ["yes"]


@pytest.mark.parametrize(
    ("questions", "annotations", "message"),
    [
        ([ASKED, ASKED], [TOLD], "question_id 42000 is there more than once"),
        ([{**ASKED, "question_id": 1}], [TOLD], r"have 2 questions in one alone \(first: 1\)"),
        ([{**ASKED, "image_id": "42"}], [TOLD], r'questions\[0\] of .* has image_id: "42"; expected a whole number'),
        ([ASKED], [{**TOLD, "answers": PEOPLE}], r'annotations\[0\] of .* expected a list of {"answer": text}'),
        ([ASKED], [{k: v for k, v in TOLD.items() if k != "answer_type"}], "has no answer_type"),
        ([], [TOLD], "is no official file of VQA v2"),
    ],
)
def test_other_layouts_are_refused(tmp_path, questions, annotations, message):
    write_official(tmp_path, questions=questions, annotations=annotations)
    with pytest.raises(ValueError, match=message):
        VQA.convert(tmp_path)


def test_lavis_lists_are_no_official_files_and_nothing_is_not_enough(tmp_path):
    with pytest.raises(ValueError, match="has the files of no split of VQA v2: vqa_train.json: not made"):
        VQA.convert(tmp_path)
    write_official(tmp_path, ["val2014"])
    write_list(tmp_path / questions_file("val2014"), vqa_rows())
    with pytest.raises(ValueError, match="val2014_questions.json is no official file of VQA v2"):
        VQA.convert(tmp_path)


# The dataset


def build(datasets: dict) -> dict:
    default = OmegaConf.load(VqaBuilder.default_config_path()).datasets.tldr_vqa
    return VqaBuilder(OmegaConf.merge(default, datasets["tldr_vqa"])).build_datasets()


def same(found: dict, expected: dict) -> bool:
    image, stock_image = found.pop("image"), expected.pop("image")
    return found == expected and bool((image == stock_image).all())


def test_samples_are_those_of_lavis(tmp_path):
    built = build(drawn_vqa(tmp_path))
    train, val = built["train"], built["val"]
    processors, root = (train.vis_processor, train.text_processor), str(tmp_path / "images")
    paths = [str(tmp_path / name) for name in ("vqa.json", "answers.json")]
    stock = COCOVQADataset(*processors, root, paths[:1])
    stock_val = COCOVQAEvalDataset(*processors, root, paths)
    assert len(train) == len(stock) == 8
    assert all(same(train[n], stock[n]) and same(val[n], stock_val[n]) for n in range(8))
    assert val.answer_list == stock_val.answer_list == ANSWERS
    batch = train.collater([train[0], train[1]])
    assert batch["answer"] == ["red", "yes"] and batch["n_answers"].tolist() == [1, 1]


def test_defaults_take_lavis_processors_for_questions(tmp_path):
    assert build(drawn_vqa(tmp_path))["val"][0]["text_input"] == "what colour"
    default = OmegaConf.load(VqaBuilder.default_config_path()).datasets.tldr_vqa
    assert default.vis_processor.eval.image_size == default.vis_processor.train.image_size == 384
    assert registry.get_processor_class(default.text_processor.train.name) is not None


def test_a_set_without_answers(tmp_path):
    untold = [{key: value for key, value in row.items() if not key.startswith("answer")} for row in vqa_rows()]
    datasets = drawn_vqa(tmp_path, splits=["test"], answer_list=None)
    write_list(tmp_path / "vqa.json", untold)
    test = build(datasets)["test"]
    assert test.human_answers is None and test.answer_list is None
    write_list(tmp_path / "vqa.json", untold[:-1] + vqa_rows()[-1:])
    with pytest.raises(ValueError, match="row 0 of datasets.tldr_vqa.test.annotations has no answer"):
        build(datasets)


def test_several_lists_are_joined_to_train_on(tmp_path):
    datasets = drawn_vqa(tmp_path, splits=["train"])
    datasets["tldr_vqa"]["train"]["annotations"] = [str(tmp_path / "vqa.json")] * 2
    assert len(build(datasets)["train"]) == 16


def test_a_missing_image_is_named(tmp_path):
    datasets = drawn_vqa(tmp_path)
    (tmp_path / "images" / "red.png").unlink()
    (tmp_path / "images" / "green.png").write_bytes(b"no image")
    built = build(datasets)
    for split in ("train", "val"):
        with pytest.raises(ValueError, match="image red.png of tldr_vqa can't be read: .*No such file"):
            built[split][0]
        with pytest.raises(ValueError, match="image green.png of tldr_vqa can't be read"):
            built[split][2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "yes"}, 'row 0 of .* has answer: "yes"; expected a list of texts'),
        ({"image": 42}, "row 0 of .* has image: 42; expected a text"),
        ({"question_id": "0"}, 'row 0 of .* has question_id: "0"; expected a whole number'),
        ({"question_id": 31}, "question_id 31 is there more than once"),
    ],
)
def test_rows_of_another_layout_are_refused(tmp_path, change, message):
    datasets = drawn_vqa(tmp_path, splits=["val"])
    rows = vqa_rows()
    write_list(tmp_path / "vqa.json", [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(ValueError, match=message):
        build(datasets)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"annotations": "absent.json"}, "datasets.tldr_vqa.val.annotations: there is no file absent.json"),
        ({"image_root": "absent"}, "datasets.tldr_vqa.val.image_root: there is no folder absent"),
        ({"image_rot": "x"}, "unknown key datasets.tldr_vqa.val.image_rot .did you mean 'image_root'"),
        ({"image_root": None}, "datasets.tldr_vqa.val has no image_root"),
    ],
)
def test_faulty_configs(tmp_path, split, message):
    datasets = drawn_vqa(tmp_path, splits=["val"])
    datasets["tldr_vqa"]["val"] = {**datasets["tldr_vqa"]["val"], **split}
    with pytest.raises(ValueError, match=message):
        build(datasets)


def test_nothing_to_build_and_unknown_keys(tmp_path):
    with pytest.raises(ValueError, match="datasets.tldr_vqa names no list"):
        build({"tldr_vqa": plain_processors()})
    with pytest.raises(ValueError, match="unknown key datasets.tldr_vqa.answers"):
        build(drawn_vqa(tmp_path, answers="answer_list.json"))
    (tmp_path / "vqa.json").write_text('{"questions": []}')
    with pytest.raises(ValueError, match="expected LAVIS's list of rows"):
        split = {"annotations": str(tmp_path / "vqa.json"), "image_root": str(tmp_path / "images")}
        build({"tldr_vqa": {"val": split, **plain_processors()}})
