"""The LAVIS task of captioning images, trained and evaluated, scored without Java or a network."""

import logging
from typing import Any

from lavis.common.dist_utils import is_main_process
from lavis.common.registry import registry
from lavis.models.blip_models.blip_caption import BlipCaption
from lavis.tasks.captioning import CaptionTask

from lavis_tldr.datasets.tldr_captioning import CaptionsToLearn, ImagesToCaption
from lavis_tldr.evaluation.coco_captions import coco_scores
from lavis_tldr.models.blip.captioner import BeamSearch, captioner_of, check_writes_captions
from lavis_tldr.tasks.evaluation_results import tell_figures, write_predictions
from lavis_tldr.tasks.feature_filling import FillsFeatureCaches
from lavis_tldr.tasks.gathering import gather_by_key
from lavis_tldr.tasks.run_defaults import FINETUNING, fill_run_defaults

logger = logging.getLogger(__name__)

RUN_KEYS = ("repetition_penalty",)
_EXAMPLES = 4


@registry.register_task("tldr_captioning")
class CaptioningTask(FillsFeatureCaches, CaptionTask):
    """As LAVIS's ``captioning``, for any BLIP, any number of processes and sets without a server.

    Trains by the model's own loss. Evaluates on ``tldr_captioning``: ``cider`` and ``bleu4``, both times 100, for sets
    with domains also ``cider_DOMAIN``, ``bleu4_DOMAIN``, ``images_DOMAIN``; ``agg_metrics`` is ``cider + bleu4``.
    The captions are written below the run's ``result`` as COCO's and NoCaps's servers take them. Keys under ``run``:
    ``num_beams`` 3, ``max_len`` 20 and ``min_len`` 5 (tokens, the prompt's included), ``repetition_penalty`` 1.0,
    ``prompt`` (the model's own), ``report_metric`` True; what else is left out is as the packaged ``finetune_run.yaml``
    says.

    Args:
        search: How captions are searched for.
        prompt: In place of the model's, or None.
        evaluate: As LAVIS has it.
        report_metric: False: only write captions.
    """

    RUN_DEFAULTS = FINETUNING

    def __init__(self, search: BeamSearch, *, prompt: str | None, evaluate: bool, report_metric: bool):
        super().__init__(search.num_beams, search.max_length, search.min_length, evaluate, report_metric)
        self.search, self.prompt = search, prompt
        self._evaluated: ImagesToCaption | None = None

    @classmethod
    def setup_task(cls, cfg) -> "CaptioningTask":
        """Raises ValueError if the model can't do what is asked, before any data is read."""
        run, model_class = cfg.run_cfg, registry.get_model_class(cfg.model_cfg.arch)
        check_writes_captions(model_class)
        fill_run_defaults(run, cls.RUN_DEFAULTS)
        trains = bool(run.get("train_splits")) and not run.get("evaluate", False)
        if trains and not issubclass(model_class, BlipCaption):
            raise ValueError(
                f"{cfg.model_cfg.arch} would be pretrained here. To fine-tune it on captions, start blip_caption_tldr "
                "from its checkpoint (model.load_pretrained: True, model.pretrained: PATH)."
            )
        search = BeamSearch(
            num_beams=int(run.get("num_beams", 3)),
            max_length=int(run.get("max_len", 20)),
            min_length=int(run.get("min_len", 5)),
            repetition_penalty=float(run.get("repetition_penalty", 1.0)),
        )
        return cls(
            search,
            prompt=run.get("prompt"),
            evaluate=bool(run.get("evaluate", False)),
            report_metric=bool(run.get("report_metric", True)),
        )

    def build_model(self, cfg):
        """The model; features that sets want cached are computed on the way, by its image tower.

        Raises:
            ValueError: If captions to train on don't begin with the prompt, whose tokens would then be theirs.
        """
        model = super().build_model(cfg)
        for splits in self._datasets.values():
            train_set = splits.get("train")
            if isinstance(train_set, CaptionsToLearn) and not train_set.text(0).startswith(model.prompt):
                raise ValueError(
                    f"captions to train on are like {train_set.text(0)!r}, but model.prompt is {model.prompt!r}, whose "
                    "tokens get no loss: let datasets.tldr_captioning.text_processor.train.prompt be the same."
                )
        return self.fill_caches(model, cfg.run_cfg)

    # Evaluation

    def before_evaluation(self, model, dataset, **kwargs) -> None:
        super().before_evaluation(model, dataset, **kwargs)
        if not isinstance(dataset, ImagesToCaption):
            raise ValueError(f"the task tldr_captioning evaluates tldr_captioning; found a {type(dataset).__name__}.")
        self._evaluated = dataset
        self._captioner = captioner_of(model)
        if self.prompt is not None:
            self._captioner.prompt = self.prompt

    def valid_step(self, model, samples) -> list[dict]:
        captions = self._captioner.generate(samples, self.search)
        return [{"index": int(i), "caption": c} for i, c in zip(samples["index"], captions, strict=True)]

    def after_evaluation(self, val_result: list[dict], split_name: str, epoch, **kwargs) -> dict[str, Any]:
        """Figures of a split; the same on each process, of which each brings the captions that fell to it."""
        listed = self._evaluated.listed
        rows = gather_by_key(val_result, "index")
        results = [{"image_id": listed.ids[row["index"]], "caption": row["caption"]} for row in rows]
        path = write_predictions(f"{split_name}_epoch{epoch}", results)
        if is_main_process():
            logger.info("%s: %d captions in %s", split_name, len(results), path)
            for result in results[:_EXAMPLES]:
                logger.debug("  %s: %s", result["image_id"], result["caption"])
        if not self.report_metric or listed.references is None:
            if self.report_metric:
                logger.warning("%s has no references: its captions are written, not scored.", split_name)
            return {"agg_metrics": 0.0}
        scores = coco_scores(results, listed.references, listed.domains)
        figures = {**scores, "agg_metrics": scores["cider"] + scores["bleu4"]}
        tell_figures(split_name, figures)
        return figures
