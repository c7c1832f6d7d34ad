"""ViLT for visual question answering: a classifier over a list of answers."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from lavis.common.registry import registry
from torch import Tensor

from lavis_tldr.models.vilt.base import ViltModel
from lavis_tldr.models.vilt.checkpoint import Checkpoint
from lavis_tldr.models.vilt.config import packaged_defaults, read_answers
from lavis_tldr.models.vilt.heads import classifier
from lavis_tldr.models.vilt.network import init_weights

_PEOPLE = 10  # answers to each question of VQA v2; LAVIS weighs an answer by the share of them that gave it
_SCORE_OF_ONE = 0.3  # one person's answer scores 0.3, two 0.6, three 0.9, four or more 1 (VQA accuracy)


@registry.register_model("vilt_vqa")
class ViltVqa(ViltModel):
    """Chooses among known answers. For LAVIS's task ``vqa`` with ``inference_method: rank``.

    Model types as of `ViltPretrain`.

    Samples in training, as LAVIS's VQA datasets collate them:
        image: (B, 3, H, W);
        text_input: B questions;
        answer: the answers of the first question, of the second, ...; those not among ``answers`` teach nothing;
        weight: theirs, the share of people who gave them;
        n_answers: (B,), how many each question has.

    Args:
        sizes, tokenizer, freeze_layers: See `ViltModel`.
        answers: Those it tells apart.
    """

    PRETRAINED_MODEL_CONFIG_DICT = packaged_defaults("vilt_vqa")

    def __init__(self, sizes, tokenizer, *, freeze_layers: int = 0, answers: Sequence[str]):
        super().__init__(sizes, tokenizer, freeze_layers=freeze_layers)
        self.answers = list(answers)
        self._number = {answer: i for i, answer in enumerate(self.answers)}
        self.classifier = classifier(sizes.width, 2 * sizes.width, len(self.answers))
        init_weights(self.classifier, sizes.width)

    @classmethod
    def options(cls, config: dict, checkpoint: Checkpoint | None) -> dict:
        known = checkpoint.answers if checkpoint and "classifier.3.weight" in checkpoint.state else None
        given = read_answers(config["answer_list"]) if config["answer_list"] else known
        if given and known in (None, given):
            return {"answers": given}
        if given:
            raise ValueError(
                f"model.answer_list {config['answer_list']} is not the list that {checkpoint.path} was trained with "
                f"({len(known)} answers, first {known[:2]}); leave it out to take that."
            )
        raise ValueError("vilt_vqa has no answers to choose from; give model.answer_list (a JSON list of strings).")

    def get_extra_state(self) -> dict:
        return {**super().get_extra_state(), "answers": self.answers}

    def set_extra_state(self, state: dict) -> None:
        super().set_extra_state(state)
        if state["answers"] != self.answers:
            raise RuntimeError("the checkpoint's answers are not this model's")

    def logits(self, samples: dict) -> Tensor:
        """(B, number of answers)."""
        ids, text_mask = self.tokenize(samples["text_input"])
        _, pooled = self.vilt(ids, text_mask, *self.embed_image(samples))
        return self.classifier(pooled)

    def targets(self, samples: dict) -> Tensor:
        """VQA scores of the known answers, (B, number of answers)."""
        counts = [int(count) for count in samples["n_answers"]]
        scores = torch.zeros(len(counts), len(self.answers))
        question = [row for row, count in enumerate(counts) for _ in range(count)]
        for row, answer, weight in zip(question, samples["answer"], samples["weight"].tolist(), strict=True):
            if answer in self._number:
                scores[row, self._number[answer]] = min(1.0, _SCORE_OF_ONE * round(_PEOPLE * weight))
        return scores.to(self.device)

    def forward(self, samples: dict) -> dict[str, Tensor]:
        """Binary cross-entropy, summed over answers and averaged over questions (``loss``), 0-dim."""
        logits = self.logits(samples).float()
        loss = F.binary_cross_entropy_with_logits(logits, self.targets(samples), reduction="sum")
        return {"loss": loss / len(logits)}

    @torch.no_grad()
    def predict_answers(
        self, samples: dict, answer_list: Sequence[str] | None = None, inference_method: str = "rank", **kwargs
    ) -> list[str]:
        """The likeliest answer to each question.

        Args:
            samples: ``image`` and ``text_input``.
            answer_list: Choose among these alone, as far as the model knows them; None: among all that it knows.
            inference_method: ``rank``; it can't generate.
            **kwargs: What else LAVIS's task hands over, for models that generate.

        Raises:
            ValueError: If asked to generate, or if it knows none of ``answer_list``.
        """
        if inference_method != "rank":
            raise ValueError(
                f"run.inference_method is {inference_method!r}; vilt_vqa chooses among known answers: set it to rank."
            )
        logits = self.logits(samples)
        if answer_list is not None:
            allowed = [self._number[answer] for answer in answer_list if answer in self._number]
            if not allowed:
                raise ValueError(f"vilt_vqa knows none of the {len(answer_list)} answers of the dataset's list.")
            best = torch.tensor(allowed)[logits[:, allowed].argmax(1).cpu()]
        else:
            best = logits.argmax(1)
        return [self.answers[i] for i in best.tolist()]
