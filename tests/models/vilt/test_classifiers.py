"""NLVR2, VQA and zero-shot classification, as LAVIS's stock tasks call them."""

import json
from types import SimpleNamespace

import pytest
import torch
from lavis.tasks.multimodal_classification import MultimodalClassificationTask
from lavis.tasks.retrieval import RetrievalTask
from lavis.tasks.vqa import VQATask
from vilts import CAPTIONS, pairs, save, tiny_vilt

ANSWERS = ["yes", "no", "red", "two"]


class OwnTask(MultimodalClassificationTask):
    """One derived from the stock task is meant, too."""


def fit(model, samples, steps: int, lr: float = 1e-3) -> list[float]:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = model(samples)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    return losses


# Zero-shot classification


@pytest.mark.parametrize("task", [MultimodalClassificationTask, OwnTask])
def test_images_are_told_by_their_classes_prompts(fitted, tmp_path, task):
    """The pretraining knows "a red kite over the sea"; the class is without the article."""
    places = [i for i, caption in enumerate(fitted.captions) if caption.startswith("a ")]
    names = [fitted.captions[i].removeprefix("a ") for i in places]
    model = tiny_vilt(
        tmp_path, "vilt_classification", load_pretrained=True, pretrained=fitted.checkpoint, templates=["a {}"]
    ).eval()
    model.before_evaluation(dataset=SimpleNamespace(classnames=names), task_type=task)
    samples = {
        "image": fitted.image[places],
        "label": torch.arange(len(names)),
        "instance_id": [str(i) for i in places],
    }
    results = task().valid_step(model, samples)
    assert len(results) == len(names) and all(row["prediction"] == row["target"] for row in results)


def test_scores_are_averaged_over_templates(tmp_path):
    model = tiny_vilt(tmp_path, "vilt_classification", templates=["a {} boat", "the {}"]).eval()
    model.before_evaluation(SimpleNamespace(classnames=["red", "small", "old"]), MultimodalClassificationTask)
    samples = {**pairs(2), "label": torch.tensor([0, 1])}
    image, _ = model.embed_image(samples)
    got = model.predict(samples)
    assert got["predictions"].shape == (2, 3) and got["targets"].tolist() == [0, 1]
    for column, name in enumerate(["red", "small", "old"]):
        by_hand = [model.score_all(image, None, [prompt])[:, 0] for prompt in (f"a {name} boat", f"the {name}")]
        torch.testing.assert_close(got["predictions"][:, column], sum(by_hand) / 2)


def test_no_classes_no_answer(tmp_path):
    model = tiny_vilt(tmp_path, "vilt_classification")
    model.before_evaluation(dataset=SimpleNamespace(), task_type=RetrievalTask)
    with pytest.raises(ValueError, match="knows no classes"):
        model.predict(pairs(2))


@pytest.mark.parametrize("templates", [[], ["a photo"], ["a {}", "it"]])
def test_templates_have_a_place_for_the_class(tmp_path, templates):
    with pytest.raises(ValueError, match="model.templates"):
        tiny_vilt(tmp_path, "vilt_classification", templates=templates)


# NLVR2


def nlvr_samples() -> dict:
    """One sentence; true where the left image is bright and the right one dark."""
    noise = torch.randn(4, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = 0.1 * noise + torch.tensor([[1.0, -1], [-1, 1], [1, 1], [-1, -1]])[:, :, None, None, None]
    return {
        "image0": images[:, 0],
        "image1": images[:, 1],
        "text_input": [CAPTIONS[0]] * 4,
        "label": torch.tensor([1, 0, 0, 0]),
        "instance_id": list("abcd"),
    }


def test_nlvr_learns_what_takes_both_images(tmp_path):
    model = tiny_vilt(tmp_path, "vilt_nlvr").train()
    losses = fit(model, nlvr_samples(), 60)
    assert losses[-1] < 0.1 < losses[0]
    results = MultimodalClassificationTask().valid_step(model.eval(), nlvr_samples())
    assert [(row["prediction"], row["target"]) for row in results] == [(1, 1), (0, 0), (0, 0), (0, 0)]


def test_nlvr_does_not_see_padding(tmp_path):
    model = tiny_vilt(tmp_path, "vilt_nlvr").eval()
    samples = {**nlvr_samples(), "pixel_mask0": torch.ones(4, 32, 32), "pixel_mask1": torch.ones(4, 32, 32)}
    torch.testing.assert_close(model.logits(samples), model.logits(nlvr_samples()))
    samples["pixel_mask1"][0, 16:] = 0
    seen = model.logits(samples)
    samples["image1"][0, :, 16:] = 9
    torch.testing.assert_close(model.logits(samples), seen)


def test_nlvrs_second_image_starts_as_the_first(tmp_path):
    pretrained = tiny_vilt(tmp_path)
    path = save(pretrained, tmp_path / "a.pth")
    model = tiny_vilt(tmp_path, "vilt_nlvr", seed=1, load_pretrained=True, pretrained=path)
    rows = model.vilt.embeddings.token_type_embeddings.weight
    known = pretrained.vilt.embeddings.token_type_embeddings.weight
    assert torch.equal(rows, known[[0, 1, 1]])
    assert not torch.equal(rows[0], rows[1])


# VQA


@pytest.fixture
def answer_list(tmp_path) -> str:
    (tmp_path / "answers.json").write_text(json.dumps(ANSWERS))
    return str(tmp_path / "answers.json")


def vqa_samples() -> dict:
    """As LAVIS collates: two answers to the first question, one to the second, three to the third."""
    return {
        **pairs(3),
        "answer": ["yes", "no", "red", "two", "blue", "no"],
        "weight": torch.tensor([0.7, 0.3, 1.0, 0.2, 0.7, 0.1]),
        "n_answers": torch.tensor([2, 1, 3]),
        "question_id": torch.tensor([7, 8, 9]),
    }


def test_vqa_targets_by_hand(tmp_path, answer_list):
    """7, 3, 10, 2 and 1 people of 10 score 1, .9, 1, .6 and .3; blue is not in the list."""
    model = tiny_vilt(tmp_path, "vilt_vqa", answer_list=answer_list)
    expected = torch.tensor([[1.0, 0.9, 0, 0], [0, 0, 1, 0], [0, 0.3, 0, 0.6]])
    torch.testing.assert_close(model.targets(vqa_samples()), expected)


def test_vqa_loss_is_summed_over_answers(tmp_path, answer_list):
    model = tiny_vilt(tmp_path, "vilt_vqa", answer_list=answer_list).eval()
    samples = vqa_samples()
    p, t = model.logits(samples).sigmoid(), model.targets(samples)
    by_hand = -(t * p.log() + (1 - t) * (1 - p).log()).sum(1).mean()
    torch.testing.assert_close(model(samples)["loss"], by_hand)


def test_vqa_answers_as_the_stock_task_asks(tmp_path, answer_list):
    model = tiny_vilt(tmp_path, "vilt_vqa", answer_list=answer_list).train()
    samples = vqa_samples()
    fit(model, samples, 60)
    task = VQATask.setup_task(SimpleNamespace(run_cfg={}))
    expected = [{"question_id": 7, "answer": "yes"}, {"question_id": 8, "answer": "red"}]
    expected.append({"question_id": 9, "answer": "two"})
    assert task.valid_step(model.eval(), samples) == expected
    # Of the dataset's list: those that the model knows.
    task.answer_list = ["purple", "no", "two"]
    assert [row["answer"] for row in task.valid_step(model, samples)][::2] == ["no", "two"]
    task.answer_list = ["purple"]
    with pytest.raises(ValueError, match="knows none of the 1 answers"):
        task.valid_step(model, samples)
    with pytest.raises(ValueError, match="'generate'; vilt_vqa chooses among known answers"):
        model.predict_answers(samples, None, inference_method="generate")


def test_vqa_checkpoint_brings_its_answers(tmp_path, answer_list):
    model = tiny_vilt(tmp_path, "vilt_vqa", answer_list=answer_list).eval()
    path = save(model, tmp_path / "vqa.pth")
    again = tiny_vilt(tmp_path, "vilt_vqa", seed=3, load_finetuned=True, finetuned=path).eval()
    assert again.answers == ANSWERS
    torch.testing.assert_close(again.logits(pairs()), model.logits(pairs()))


def test_vqa_checkpoint_with_another_list_is_refused(tmp_path, answer_list):
    """As many answers in another order: the weights would fit."""
    path = save(tiny_vilt(tmp_path, "vilt_vqa", answer_list=answer_list), tmp_path / "vqa.pth")
    (tmp_path / "other.json").write_text(json.dumps(ANSWERS[::-1]))
    with pytest.raises(ValueError, match="other.json is not the list that .*vqa.pth was trained with"):
        tiny_vilt(tmp_path, "vilt_vqa", load_finetuned=True, finetuned=path, answer_list=str(tmp_path / "other.json"))
    tiny_vilt(tmp_path, "vilt_vqa", load_finetuned=True, finetuned=path, answer_list=answer_list)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "is no JSON list of answers"),
        ("[]", "is no JSON list of answers"),
        ('["yes", "yes"]', "holds an answer twice"),
        (None, "there is no file"),
    ],
)
def test_bad_answer_lists(tmp_path, content, message):
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=f"model.answer_list: .*{message}"):
        tiny_vilt(tmp_path, "vilt_vqa", answer_list=str(path))


def test_no_answers_at_all(tmp_path):
    with pytest.raises(ValueError, match="give model.answer_list"):
        tiny_vilt(tmp_path, "vilt_vqa")
