"""Settings of a reduction, from the ``run`` section of its config."""

from dataclasses import dataclass, fields
from math import inf
from types import NoneType
from typing import get_args

from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.reduction.recipes import SHARED_STAGES
from lavis_tldr.reduction.refinement import RECIPES
from lavis_tldr.reduction.representation import REPRESENTATIONS
from lavis_tldr.reduction.selection import keep_budget

SELECTIONS = ("uniform", "aligned")
ALIGNMENTS = ("contrastive", "likelihood", "similarity", "both")
IMAGES = ("export", "in_place")
_RANGES = (
    ("batch_size_eval", 1, inf),
    ("num_workers", 0, inf),
    ("num_clusters", 1, inf),
    ("num_contrast", 1, inf),
    ("balance", 0, 1),
    ("duplicate_threshold", 1e-6, 1),
)


@dataclass(frozen=True)
class ReduceConfig:
    """Settings of a reduction; each is a key under ``run``.

    Attributes:
        name: Folder of this reduced set inside the run folder. Runs with other recipes and another name share what
            was encoded, clustered and scored.
        stages: Only these; empty: all that the recipe needs.
        restart: Stages to make anew.
        bf16: Encode and caption in bfloat16: several times faster, a few near ties between codes fall otherwise.
        batch_size_eval, num_workers: Images encoded at once; loader processes.
        feature_cache: Folder of patch features that training computed with the same still encoder; images found in it
            are not encoded again. Features are stored in float16, so near ties between codes may fall otherwise.
        seed: Of the K-Means fit and of every draw.
        alignment_seed: Of the scorer, so that reduced sets of several seeds share its scores.
        representation: What is clustered: index (the paper's), histogram or embedding.
        tfidf: Weight a histogram's codes by how few images they are in.
        num_clusters: C (Table 2f).
        caption_all: Caption every image, in a stage that all reduced sets of the run folder share, not the kept ones of
            each set.
        fit_size: K-Means, and the contrastive scorer, are fitted on so many drawn samples at most. K-Means holds them
            in memory: fit_size x F float32, where F is the number of codes for a histogram (3,000 codes: 3 GB).
        alignment: How a caption's fit to its image is scored: contrastive (heads over frozen features, each pair scored
            by some that never saw it), likelihood (by the captioner), similarity (to the generated caption) or both
            (the last two).
        similarity_weights: A BERT sentence encoder (folder or hub name); likelihood alone does without.
        num_contrast: Images that a caption's likelihood is compared over.
        selection: uniform (the paper's) or aligned.
        keep_ratio: Share of the samples to keep (Table 2e).
        balance: With aligned: share of the quota given out by cluster.
        duplicate_threshold: With aligned: drop near duplicates above this cosine of code histograms; null keeps them.
        recipe: What becomes the caption: original, generated, original_generated (the paper's) or gated.
        joiner: Between the original and the generated caption.
        alignment_threshold: With gated: an original below it is replaced.
        num_beams, max_len, min_len, length_penalty: How captions are decoded.
        images: export (copy the kept images) or in_place (index them in their tars).
    """

    name: str = "reduced"
    stages: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
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
    num_contrast: int = 8
    selection: str = "uniform"
    keep_ratio: float = 0.25
    balance: float = 1.0
    duplicate_threshold: float | None = None
    recipe: str = "original_generated"
    joiner: str = "; "
    alignment_threshold: float | None = None
    num_beams: int = 1
    max_len: int = 30
    min_len: int = 3
    length_penalty: float = 1.0
    images: str = "export"

    @classmethod
    def from_run(cls, run) -> "ReduceConfig":
        """From the ``run`` section.

        Raises:
            ValueError: If a value is out of range; says what to do.
        """
        values = {field.name: run[field.name] for field in fields(cls) if field.name in run}
        for field in fields(cls):
            if field.name in values and field.name not in ("stages", "restart"):
                values[field.name] = _typed(field.name, field.type, values[field.name])
        for name in ("stages", "restart"):
            value = values.get(name) or ()
            values[name] = (value,) if isinstance(value, str) else tuple(value)
        config = cls(**values)
        config._check()
        return config

    @property
    def decoding(self) -> DecodingOptions:
        return DecodingOptions(self.num_beams, self.max_len, self.min_len, self.length_penalty)

    @property
    def needs_scores(self) -> bool:
        return self.selection == "aligned" or self.recipe == "gated"

    @property
    def scores_use_captions(self) -> bool:
        """Whether the scores compare an original caption with the generated one."""
        return self.alignment in ("similarity", "both")

    @property
    def captions_all(self) -> bool:
        """Whether every image is captioned, kept or not, in a stage of its own."""
        return self.caption_all or (self.needs_scores and self.scores_use_captions)

    @property
    def cluster_variant(self) -> str:
        """What tells these clusters from others of the run folder."""
        weighting = "-tfidf" if self.representation == "histogram" and self.tfidf else ""
        return f"{self.representation}{weighting}-{self.num_clusters}-seed{self.seed}"

    def check_scoring(self) -> None:
        """Check what the score stage needs.

        Raises:
            ValueError: If there is no sentence encoder to compare captions with.
        """
        if self.alignment != "likelihood" and not self.similarity_weights:
            raise ValueError(
                f"run.alignment {self.alignment} compares captions with a sentence encoder: set run.similarity_weights "
                "to a BERT's folder or hub name, or run.alignment to likelihood, which needs none."
            )

    def _check(self) -> None:
        for name, known in (
            ("representation", REPRESENTATIONS),
            ("alignment", ALIGNMENTS),
            ("selection", SELECTIONS),
            ("recipe", RECIPES),
            ("images", IMAGES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"run.{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}.")
        keep_budget(1, self.keep_ratio)
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # also refuses NaN
                limits = f"at least {low}" if high == inf else f"in [{low}, {high}]"
                raise ValueError(f"run.{name} is {value}; it must be {limits}.")
        if self.fit_size < self.num_clusters:
            raise ValueError(
                f"run.fit_size is {self.fit_size}, fewer samples than run.num_clusters {self.num_clusters}: raise it."
            )
        if self.name in SHARED_STAGES or not self.name or "/" in self.name or self.name.startswith("."):
            raise ValueError(
                f"run.name is {self.name!r}; give a plain folder name other than {', '.join(SHARED_STAGES)}."
            )
        if self.duplicate_threshold is not None and self.selection != "aligned":
            raise ValueError(
                f"run.duplicate_threshold works with run.selection aligned alone, and it is {self.selection}: change "
                "one of them."
            )
        if self.recipe == "gated" and self.alignment_threshold is None:
            raise ValueError("run.recipe gated needs run.alignment_threshold: originals scored below it are replaced.")
        if self.needs_scores:
            self.check_scoring()
        self.decoding  # noqa: B018  (checks itself)


def _typed(name: str, annotation, value):
    """``value`` as the field's type.

    Raises:
        ValueError: If it is of another.
    """
    wanted = get_args(annotation) or (annotation,)
    if value is None and NoneType in wanted:
        return None
    kind = wanted[0]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    what = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}[kind]
    raise ValueError(f"run.{name} is {value!r}; it must be {what}.")
