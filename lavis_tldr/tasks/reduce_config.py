"""Settings of a reduction, from the ``run`` section of its config."""

from dataclasses import dataclass, fields

from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.reduction.refinement import RECIPES
from lavis_tldr.reduction.representation import REPRESENTATIONS
from lavis_tldr.reduction.selection import keep_budget

SELECTIONS = ("uniform", "aligned")
ALIGNMENTS = ("likelihood", "similarity", "both")
IMAGES = ("export", "in_place")


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
        representation: What is clustered: index (the paper's), histogram or embedding.
        tfidf: Weight a histogram's codes by how few images they are in.
        num_clusters: C (Table 2f).
        fit_size: K-Means is fitted on so many drawn samples at most.
        alignment: How a caption's fit to its image is scored: likelihood, similarity or both.
        similarity_weights: A BERT sentence encoder (folder or hub name) for similarity.
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
    representation: str = "histogram"
    tfidf: bool = True
    num_clusters: int = 3000
    fit_size: int = 1_000_000
    alignment: str = "both"
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
        if self.num_clusters < 1:
            raise ValueError(f"run.num_clusters is {self.num_clusters}; it must be at least 1.")
        if self.recipe == "gated" and self.alignment_threshold is None:
            raise ValueError("run.recipe gated needs run.alignment_threshold: originals scored below it are replaced.")
        if self.needs_scores and self.alignment != "likelihood" and not self.similarity_weights:
            raise ValueError(
                f"run.alignment {self.alignment} compares captions with a sentence encoder: set run.similarity_weights "
                "to a BERT's folder or hub name, or run.alignment to likelihood, which needs none."
            )
        self.decoding  # noqa: B018  (checks itself)
