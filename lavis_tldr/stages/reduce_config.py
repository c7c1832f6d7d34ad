"""Settings of a reduction, from the ``run`` section of its config."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from types import NoneType
from typing import Any, get_args

from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.reduction.alignments import ALIGNMENTS, FITTED, MIXTURE, natural_threshold
from lavis_tldr.reduction.criteria import CRITERIA, SELECTIONS
from lavis_tldr.reduction.objectives import OBJECTIVES, Default
from lavis_tldr.reduction.quotas import keep_budget
from lavis_tldr.reduction.refinement import ORIGINAL, RECIPES
from lavis_tldr.reduction.representation import REPRESENTATIONS
from lavis_tldr.runs.stages import SHARED_STAGES
from lavis_tldr.scoring.normsim import NEAREST
from lavis_tldr.stages import score_settings
from lavis_tldr.user_errors import closest

# What is clustered: made of the codes, or of something else that is known of a pair.
CLUSTERED = (*REPRESENTATIONS, "feature", "text", "blip")
QUOTAS = ("size", "density")
SCOPES = ("all", "cluster")
TWIN_FEATURES = ("histogram", "feature")
IMAGES = ("export", "in_place")
# What a setting may be, where that is one of a few.
CHOICES: Mapping[str, Collection[str]] = {
    "representation": CLUSTERED,
    "alignment": ALIGNMENTS,
    "selection": SELECTIONS,
    "quota": QUOTAS,
    "prefilter": ("", *CRITERIA),
    "prefilter_scope": SCOPES,
    "duplicate_by": TWIN_FEATURES,
    "recipe": RECIPES,
    "images": IMAGES,
    **score_settings.CHOICES,
}
_NAMES = ("stages", "restart", "mixture_of")  # settings that are lists of names
_RANGES = (
    ("batch_size_eval", 1, inf),
    ("num_workers", 0, inf),
    ("num_clusters", 1, inf),
    ("num_contrast", 1, inf),
    ("given_temperature", 1e-6, inf),
    ("balance", 0, 1),
    ("density_temperature", 1e-6, inf),
    ("alignment_threshold", -inf, inf),
    ("prefilter_share", 1e-6, 1),
    ("min_words", 0, inf),
    ("max_repeats", 1, 100),
    ("repeat_penalty", 0, inf),
    ("duplicate_threshold", 1e-6, 1),
    ("gate_margin", 0, inf),
    ("num_sampled", 0, inf),
    ("temperature", 1e-6, inf),
    ("top_p", 1e-6, 1),
    ("num_borrowed", 0, inf),
    ("bank_size", 1, inf),
)


@dataclass(frozen=True)
class ReduceConfig:
    """Settings of a reduction; each is a key under ``run``.

    Attributes:
        name: Folder of this reduced set inside the run folder. Sets of other names share what was encoded, clustered
            and scored.
        stages: Only these; empty: all that the set is made from.
        restart: Stages to make anew.
        objective: What the set is for: retrieval, classification or both. It gives other defaults to settings that the
            config leaves out (`reduction.objectives`), and decides nothing else; empty: the usual defaults.
        bf16: Encode and caption in bfloat16: several times faster, a few near ties between codes fall otherwise.
        batch_size_eval, num_workers: Images encoded at once; loader processes.
        feature_cache: Folder of image features that training computed with the same still encoder; images found in it
            are not encoded again. Features are stored in float16, so near ties between codes may fall otherwise.
        seed: Of the K-Means fit and of every draw.
        alignment_seed: Of the scorer, of the gradient network and of sampled captions, so that reduced sets of several
            seeds share them.
        representation: What is clustered (Table 2d): code index vectors (index, the paper's), code histograms
            (histogram), mean code vectors (embedding), the encoder's mean patch features (feature), the captions'
            sentence embeddings (text) or BLIP's image features (blip).
        tfidf: Weight a histogram's codes by how few images they are in; also of histograms that tell near duplicates.
        num_clusters: How many clusters, C (Table 2f).
        caption_all: Caption every image, in a stage that all reduced sets of the run folder share, not the kept ones of
            each set.
        fit_size: K-Means, the contrastive scorer and the gradient network are fitted on so many drawn samples at most.
            K-Means holds them in memory: fit_size x F float32, where F is the number of codes for a histogram (3,000
            codes: 3 GB).
        alignment: How a caption's fit to its image is scored: contrastive (heads over frozen features, each pair scored
            by some that never saw it), likelihood (by the captioner), similarity (to the generated caption), both (the
            last two), itm or itc (by LAVIS's blip_image_text_matching), normsim (similarity to a target), given (by
            embeddings that you have) or mixture (of several of these). Left out: contrastive, or likelihood where
            similarity_weights names no sentence encoder.
        similarity_weights: A BERT sentence encoder (folder or hub name); likelihood, itm and itc do without.
        blip_weights, blip_model_type: A checkpoint of LAVIS's blip_image_text_matching, and its type.
        num_contrast: Images that a caption's likelihood is compared over.
        normsim_p, normsim_of: With normsim: inf (similarity to the nearest of the target) or 2 (root mean square of all
            similarities); whether captions are compared as well (pair) or images alone (image).
        target: With normsim: the target, a source such as {format: folder, root: DIR}; null: the pairs known to be
            right (datasets.tldr_captions.train). Of more than 100,000 images so many are drawn.
        mixture, mixture_of: With mixture: weights of kinds of alignment, such as {contrastive: 1.0, normsim: 0.2}; or
            fitted, and mixture_of the kinds: logistic regression on the pairs known to be right against the same with
            their captions swapped.
        embeddings: With given: {images: FILE, texts: FILE, keys: FILE} (arrays, and a key a line), {tables: FILES}
            (Parquet with columns key, image, text) or {scores: FILES, column: NAME} (Parquet with a ready score).
        given_score, given_temperature: With given embeddings: negclip (negCLIPLoss, how much more alike the two are
            than each is to others, over a temperature) or cosine (CLIP score).
        selection: Which samples are kept (Table 2b). random: drawn, whatever their cluster. uniform: drawn within each
            cluster (the paper's). Or the best by a criterion: aligned, large_distance (from the centroid), hard_sample
            and easy_sample (far from and near their prototype by cosine, Sorscher et al. 2022), gradient (of a small
            image-text network).
        keep_ratio: Share of the samples to keep (Table 2e).
        balance: Share of the budget that a criterion gives out by cluster; the rest goes to the best of all clusters.
        quota: What a cluster's share grows with: its size, or its density (more from clusters that are wide and far
            from others, Abbas et al. 2024). Random knows no clusters.
        density_temperature: Of the softmax that quotas by density go by; the higher, the more alike they are.
        prefilter: A criterion of selection whose worst samples are left out before; empty: none.
        prefilter_share: Share of the samples that pass it.
        prefilter_scope: Whether that is the share of all samples, or of each cluster.
        min_words: Leave out samples whose original caption has fewer words; 0 keeps all.
        concept_cap: Leave out samples of crowded concepts (MetaCLIP, Xu et al. 2023, arXiv:2309.16671): of each concept
            the best so many pass (by the selection's score, else those drawn first), or, below 1, that share of all
            samples; a sample passes if one of its concepts has it among its best, so that rare concepts stay whole.
            Concepts are the names of the captioner's codes; where they have none, as many of the set's most frequent
            keywords as there are codes. null: no cap.
        keep_unmatched: With concept_cap: samples whose caption has no concept pass. MetaCLIP drops them.
        max_repeats: With a criterion: how often a sample is kept at most. Above 1 the best take several places of the
            budget each, by a soft cap (M-FLYT, arXiv:2503.08805): a sample's second copy counts as one whose score is
            lower by ``repeat_penalty``, the third by twice that.
        repeat_penalty: In standard deviations of the set's scores. Small (0.1): few samples, most of them as often as
            ``max_repeats`` allows; large (3): hardly any sample twice. 0: whatever is kept, ``max_repeats`` times.
        duplicate_threshold: Drop near duplicates from this cosine on; the best aligned of them stays where pairs are
            scored, else the best by the selection. null keeps them.
        duplicate_by: What tells near duplicates: code histogram, or mean patch feature.
        recipe: What becomes the caption: original, generated, original_generated (the paper's), drawn (both are kept,
            one is drawn at every epoch of training), gated (those that fit the image) or gated_drawn (the same, but one
            is drawn where both fit). Left out: gated_drawn, or original where samples are kept for their
            alignment, or it can't judge what is generated.
        joiner: Between the original and the generated caption.
        alignment_threshold: The score from which on a caption fits, with gated; null: 0 for contrastive, likelihood and
            a fitted mixture, 0.5 for itm.
        score_refined: Also score the generated captions and what became of the captions (gated does so anyway).
        gate_margin: With a gate: by how much better a generated caption must fit to take the place of an original that
            does not.
        num_beams, max_len, min_len, length_penalty: How captions are decoded.
        num_sampled: Captions drawn from the captioner besides the decoded one; of all, the best aligned is taken.
        temperature, top_p: Of those draws: below 1 likely words become likelier; words are drawn from the likeliest
            that hold this probability together.
        num_borrowed: Captions of other pairs among which the best aligned is sought as well: of the pairs known to be
            right, and of those of the source whose caption fits. With alignment contrastive.
        bank_size: So many captions are there to borrow at most, drawn.
        images: What becomes of the kept images: export (they are copied) or in_place (indexed in their tars).
    """

    name: str = "reduced"
    stages: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    objective: str = ""
    bf16: bool = False
    batch_size_eval: int = 64
    num_workers: int = 0
    feature_cache: str = ""
    seed: int = 42
    alignment_seed: int = 42
    caption_all: bool = False
    representation: str = "histogram"
    tfidf: bool = True
    num_clusters: int = 3000
    fit_size: int = 262_144
    alignment: str = "contrastive"
    similarity_weights: str = ""
    blip_weights: str = ""
    blip_model_type: str = "base"
    num_contrast: int = 8
    normsim_p: str = NEAREST
    normsim_of: str = score_settings.PAIR
    target: dict | None = None
    mixture: dict | str | None = None
    mixture_of: tuple[str, ...] = ()
    embeddings: dict | None = None
    given_score: str = score_settings.NEGCLIP
    given_temperature: float = 0.01
    selection: str = "uniform"
    keep_ratio: float = 0.25
    balance: float = 1.0
    quota: str = "size"
    density_temperature: float = 0.1
    prefilter: str = ""
    prefilter_share: float = 0.5
    prefilter_scope: str = "all"
    min_words: int = 0
    concept_cap: int | float | None = None
    keep_unmatched: bool = True
    max_repeats: int = 1
    repeat_penalty: float = 0.5
    duplicate_threshold: float | None = None
    duplicate_by: str = "histogram"
    recipe: str = "gated_drawn"
    joiner: str = "; "
    alignment_threshold: float | None = None
    score_refined: bool = False
    num_beams: int = 1
    max_len: int = 30
    min_len: int = 3
    length_penalty: float = 1.0
    gate_margin: float = 0.0
    num_sampled: int = 0
    temperature: float = 0.7
    top_p: float = 0.95
    num_borrowed: int = 0
    bank_size: int = 16_384
    images: str = "export"

    @classmethod
    def from_run(cls, run: Mapping, *, needs_weights: bool = True) -> "ReduceConfig":
        """From the ``run`` section.

        Args:
            run: The section.
            needs_weights: Refuse scores whose weights are not named.

        Raises:
            ValueError: If a value is out of range; says what to do.
        """
        by_objective = objective_defaults(run)
        values = {field.name: score_settings.plain(run[field.name]) for field in fields(cls) if field.name in run}
        values = score_settings.read_score_settings(values)
        for field in fields(cls):
            if field.name in values and field.name not in _NAMES:
                given = "" if values[field.name] is None and field.default == "" else values[field.name]
                values[field.name] = _typed(field.name, field.type, given)
        for name in _NAMES:
            value = values.get(name) or ()
            values[name] = (value,) if isinstance(value, str) else tuple(value)
        values |= {name: default.value for name, default in by_objective.items()}
        if "alignment" not in values and not values.get("similarity_weights"):
            values["alignment"] = "likelihood"
        config = cls(**values)
        # What is kept for its alignment has captions that fit: others beside them gain on one pool and lose on another.
        if "recipe" not in values and (not config.can_gate or "alignment" in config._ranked_by):
            config = replace(config, recipe=ORIGINAL)
        try:
            config._check()
            if needs_weights and config.needs_scores:
                config.check_weights(["score"])
        except ValueError as error:
            raise ValueError(f"{error}{_by_objective(str(error), config.objective, by_objective)}") from error
        return config

    @property
    def decoding(self) -> DecodingOptions:
        return DecodingOptions(self.num_beams, self.max_len, self.min_len, self.length_penalty)

    @property
    def decoding_settings(self) -> dict:
        """How captions are decoded, as a manifest holds it."""
        return vars(self.decoding)

    @property
    def needs_scores(self) -> bool:
        return "alignment" in self._ranked_by or self.scores_refined

    @property
    def needs_gradients(self) -> bool:
        return "gradient" in self._ranked_by

    @property
    def _ranked_by(self) -> set[str]:
        """What the selection and the prefilter go by."""
        return {CRITERIA[name].column for name in (self.selection, self.prefilter) if name in CRITERIA}

    @property
    def scores_refined(self) -> bool:
        """Whether generated and refined captions are scored, too."""
        return self.score_refined or RECIPES[self.recipe].needs_alignment or self.reranks

    @property
    def reranks(self) -> bool:
        """Whether a generated caption is the best aligned of several."""
        return RECIPES[self.recipe].generates and self.num_sampled + self.num_borrowed > 0

    @property
    def borrows(self) -> bool:
        """Whether captions of other pairs are among these."""
        return self.reranks and self.num_borrowed > 0

    @property
    def candidates(self) -> dict:
        """Where generated captions are chosen from, as a manifest holds it."""
        borrowed = {"num_borrowed": self.num_borrowed, "bank_size": self.bank_size, "seed": self.alignment_seed}
        return {**(self.sampling if self.num_sampled else {}), **(borrowed if self.num_borrowed else {})}

    @property
    def sampling(self) -> dict:
        """How captions are drawn from the captioner, as a manifest holds it."""
        names = ("num_sampled", "temperature", "top_p")
        return {**{name: getattr(self, name) for name in names}, "seed": self.alignment_seed}

    @property
    def gate(self) -> float | None:
        """The score from which on a caption fits its image; None where there is no natural one."""
        natural = natural_threshold(self.alignment, self.mixture)
        return natural if self.alignment_threshold is None else self.alignment_threshold

    @property
    def can_gate(self) -> bool:
        """Whether the alignment tells which generated captions fit."""
        if self.alignment not in ALIGNMENTS:
            return False
        return not (self.scores_know_originals_alone or self.scores_use_captions) and self.gate is not None

    @property
    def scorers(self) -> tuple[str, ...]:
        """The kinds of alignment that pairs are scored by, in the order of their table: one, or those of a mixture."""
        if self.alignment != MIXTURE:
            return (self.alignment,)
        chosen = self.mixture_of if self.fits_mixture else self._given_weights
        return tuple(kind for kind in ALIGNMENTS if kind in chosen)

    @property
    def score_weights(self) -> dict[str, float]:
        """What each column of scores weighs, where nothing is fitted; they add up to 1."""
        given = self._given_weights
        found = {name: float(given.get(kind, 1)) for kind in self.scorers for name in ALIGNMENTS[kind].columns}
        return {name: weight / sum(found.values()) for name, weight in found.items()}

    @property
    def _given_weights(self) -> dict[str, float]:
        """Of the kinds of a mixture; empty where there is none, or its weights are fitted."""
        return self.mixture if self.alignment == MIXTURE and isinstance(self.mixture, dict) else {}

    @property
    def fits_mixture(self) -> bool:
        return self.alignment == MIXTURE and self.mixture == FITTED

    @property
    def needs_trusted(self) -> bool:
        """Whether pairs can't be scored without some known to be right."""
        return self.fits_mixture or ("normsim" in self.scorers and not self.target)

    @property
    def uses_trusted(self) -> bool:
        """Whether scores go by pairs known to be right, where there are any."""
        return self.needs_trusted or "contrastive" in self.scorers

    @property
    def score_variant(self) -> str:
        """What tells these scores from others of the run folder; given weights are the selection's business."""
        return score_settings.variant_of(self.alignment, self)

    @property
    def scores_use_captions(self) -> bool:
        """Whether the scores compare an original caption with the generated one."""
        return any(ALIGNMENTS[kind].uses_captions for kind in self.scorers)

    @property
    def scores_know_originals_alone(self) -> bool:
        """Whether there is no score of another caption than the original."""
        return any(ALIGNMENTS[kind].knows_originals_alone for kind in self.scorers)

    @property
    def captions_all(self) -> bool:
        """Whether every image is captioned, kept or not, in a stage of its own."""
        return self.caption_all or (self.needs_scores and self.scores_use_captions)

    @property
    def cluster_variant(self) -> str:
        """What tells these clusters from others of the run folder."""
        weighting = "-tfidf" if self.representation == "histogram" and self.tfidf else ""
        fit = f"-fit{self.fit_size}" if self.fit_size != type(self).fit_size else ""
        return f"{self.representation}{weighting}-{self.num_clusters}{fit}-seed{self.seed}"

    @property
    def scores_by_blip(self) -> bool:
        return any(ALIGNMENTS[kind].uses_blip for kind in self.scorers)

    @property
    def scores_by_blip_alone(self) -> bool:
        return all(ALIGNMENTS[kind].uses_blip for kind in self.scorers)

    @property
    def scores_by_captioner(self) -> bool:
        return not {"likelihood", "similarity", "both"}.isdisjoint(self.scorers)

    @property
    def targets_captions(self) -> bool:
        """Whether captions are compared with those of a target."""
        return "normsim" in self.scorers and self.normsim_of == score_settings.PAIR

    @property
    def embed_captions(self) -> set[str]:
        """The stages that use the sentence encoder."""
        scores = self.targets_captions or any(ALIGNMENTS[kind].embeds_captions for kind in self.scorers)
        return {*(["score"] if scores else []), *(["cluster"] if self.representation == "text" else [])}

    @property
    def use_blip(self) -> set[str]:
        """The stages that use BLIP."""
        return {
            *(["score"] if self.scores_by_blip else []),
            *(["cluster"] if self.representation == "blip" else []),
        }

    def check_weights(self, stages: Collection[str]) -> None:
        """Check that the weights that some stages need are named.

        Raises:
            ValueError: If they are not.
        """
        if not self.blip_weights and (found := self.use_blip.intersection(stages)):
            what = f"alignment {self.alignment} scores" if "score" in found else "representation blip clusters"
            raise ValueError(
                f"run.{what} by BLIP: set run.blip_weights to a checkpoint of LAVIS's blip_image_text_matching."
            )
        if not self.similarity_weights and (found := self.embed_captions.intersection(stages)):
            if "score" in found:
                what = f"alignment {self.alignment} compares captions"
                only_normsim = not any(ALIGNMENTS[kind].embeds_captions for kind in self.scorers)
                instead = "run.normsim_of to image" if only_normsim else "run.alignment to likelihood"
            else:
                what, instead = "representation text clusters captions", "run.representation to histogram"
            raise ValueError(
                f"run.{what} with a sentence encoder: set run.similarity_weights to a BERT's folder or hub name, or "
                f"{instead}, which needs none."
            )

    def _check(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                names = ", ".join(filter(None, known))
                raise ValueError(f"run.{name} is {getattr(self, name)!r}; expected one of {names}.")
        score_settings.check_score_settings(self)
        keep_budget(1, self.keep_ratio)
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # also refuses NaN
                limits = "a number" if low == -inf else f"at least {low}" if high == inf else f"in [{low}, {high}]"
                raise ValueError(f"run.{name} is {value}; it must be {limits}.")
        if self.fit_size < self.num_clusters:
            raise ValueError(
                f"run.fit_size is {self.fit_size}, fewer samples than run.num_clusters {self.num_clusters}: raise it."
            )
        if self.name in SHARED_STAGES or not self.name or "/" in self.name or self.name.startswith("."):
            raise ValueError(
                f"run.name is {self.name!r}; give a plain folder name other than {', '.join(SHARED_STAGES)}."
            )
        if self.prefilter and self.prefilter_share < self.keep_ratio:
            raise ValueError(
                f"run.prefilter_share {self.prefilter_share} leaves fewer samples than run.keep_ratio "
                f"{self.keep_ratio} keeps: raise the one or lower the other."
            )
        if self.max_repeats > 1 and self.selection not in CRITERIA:
            raise ValueError(
                f"run.max_repeats is {self.max_repeats}, but run.selection {self.selection} draws, and nothing says "
                f"which samples are worth a repeat: set run.selection to one of {', '.join(CRITERIA)}, or "
                "run.max_repeats to 1."
            )
        cap = self.concept_cap
        if cap is not None and not (0 < cap < 1 if isinstance(cap, float) else cap >= 1):
            raise ValueError(
                f"run.concept_cap is {cap}; give a whole number of samples a concept, such as 20000, or a "
                "share of all samples below 1, such as 0.001."
            )
        if self.scores_refined:
            self._check_scoring_of_refined()
        self.decoding  # noqa: B018  (checks itself)

    def _check_scoring_of_refined(self) -> None:
        asks = f"recipe {self.recipe}" if RECIPES[self.recipe].needs_alignment else "score_refined"
        if self.reranks:
            asks = "num_borrowed" if self.num_borrowed else "num_sampled"
        if self.borrows and self.alignment != "contrastive":
            raise ValueError(
                f"run.num_borrowed seeks captions by the contrastive scorer, and run.alignment is {self.alignment}: "
                "set it to contrastive, or run.num_borrowed to 0 (run.num_sampled goes with any)."
            )
        if self.scores_use_captions:
            raise ValueError(
                f"run.{asks} scores generated captions as well, and run.alignment {self.alignment} compares captions "
                "with these, so it can't judge them: set run.alignment to contrastive, likelihood, itm or itc."
            )
        if self.scores_know_originals_alone:
            raise ValueError(
                f"run.{asks} scores generated captions as well, and run.embeddings knows the original ones alone: set "
                "run.alignment to contrastive, likelihood, itm or itc, or a mixture without given."
            )
        if RECIPES[self.recipe].needs_alignment and self.gate is None:
            raise ValueError(
                f"run.recipe {self.recipe} needs run.alignment_threshold, the score from which on a caption fits: for "
                f"run.alignment {self.alignment} there is no natural one."
            )


def objective_defaults(run: Mapping) -> dict[str, Default]:
    """What the objective of a ``run`` section gives to settings that it leaves out, by name.

    Raises:
        ValueError: If there is no such objective.
    """
    objective = run.get("objective") or ""
    if objective and objective not in OBJECTIVES:
        raise ValueError(f"run.objective is {objective!r}{closest(objective, OBJECTIVES)}: give one of these, or none.")
    given = score_settings.read_score_settings(run)
    return {name: default for name, default in OBJECTIVES.get(objective, {}).items() if name not in given}


def objective_values(run: Mapping) -> dict[str, Any]:
    """The values of `objective_defaults`."""
    return {name: default.value for name, default in objective_defaults(run).items()}


def _by_objective(message: str, objective: str, defaults: Mapping[str, Default]) -> str:
    """Which settings that a message speaks of the objective has set; "" for none."""
    told = [f"{name} {default.value}" for name, default in defaults.items() if f"run.{name} " in message]
    if not told:
        return ""
    return f" (run.objective {objective} sets {', '.join(told)}; a value of your own goes before it)"


def _typed(name: str, annotation, value):
    """``value`` as the field's type.

    Raises:
        ValueError: If it is of another.
    """
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    if value is None and len(kinds) < len(get_args(annotation)):
        return None
    if float in kinds and int not in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, tuple(kinds)) and (bool in kinds or not isinstance(value, bool)):
        return value
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", dict: "a mapping"}
    raise ValueError(f"run.{name} is {value!r}; it must be {' or '.join(words[kind] for kind in kinds)}.")
