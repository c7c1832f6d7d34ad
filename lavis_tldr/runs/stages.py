"""The stages of a reduction, in one table: what each is made from, what decides it, and what its files hold.

Order, restarts, folders, repair, inspection, exports and ``docs/formats.md`` follow from it. How a stage does its work
is in ``lavis_tldr/stages/NAME.py``, which finds itself here by its name.

What a setting or a link depends on is asked of the run's settings (`lavis_tldr.stages.reduce_config.ReduceConfig`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from lavis_tldr.reduction.alignments import ALIGNMENTS, MIXTURE
from lavis_tldr.reduction.criteria import CRITERIA, RANDOM
from lavis_tldr.reduction.refinement import RECIPES
from lavis_tldr.sources.record import METADATA

# The run's settings -> whether.
When = Callable[[Any], bool]


def _always(config: Any) -> bool:
    return True


@dataclass(frozen=True)
class Column:
    """A column of a stage's Parquet files.

    Attributes:
        name: Its name.
        type: Its Arrow type.
        meaning: One line, for ``docs/formats.md``.
        fill: What the ledger has for a record that the stage does not know: one that failed, or was not kept.
        when: Whether a run's files have it.
        since: The version that came to write it: files of before lack it and read as null; "" for the first.
    """

    name: str
    type: pa.DataType
    meaning: str
    fill: Any = None
    when: When = _always
    since: str = ""

    @property
    def is_optional(self) -> bool:
        """Whether the files of some runs have it, and of others not."""
        return self.when is not _always


@dataclass(frozen=True)
class Setting:
    """What decides a stage's outcome; its manifest holds it, and a changed one is refused.

    Attributes:
        name: In the manifest.
        of: The run's setting that gives it, where that has another name.
        when: Whether it has a say.
        note: When that is, or what it is, for ``docs/formats.md``.
        by_stage: Whether the stage's own module gives it, not the run's settings.
    """

    name: str
    of: str = ""
    when: When = _always
    note: str = ""
    by_stage: bool = False


@dataclass(frozen=True)
class Link:
    """A stage whose files another one is made from.

    Attributes:
        stage: Its name.
        when: Whether the run's settings ask for it.
        note: The same in words.
        by_stage: Whether the later stage's module says so, not the settings.
    """

    stage: str
    when: When = _always
    note: str = ""
    by_stage: bool = False


@dataclass(frozen=True)
class StageSpec:
    """A stage.

    Attributes:
        name: Of the stage, of its folder, and of its module in ``lavis_tldr/stages/``.
        what: What it writes, in one line.
        shared: Whether the sets of a run share it; else each set has its own.
        made_from: Stages before it.
        settings: What decides its outcome.
        columns: Of its files, one a part of the source; none where it writes no Parquet.
        inputs: What else it is made from: name in the manifest, and what that is.
        files: Files besides the parts: name, and what it holds.
        used: Whether a set is made from it.
        variant: Where sets of a run may want it otherwise than each other: the name of a set's own folder of it.
    """

    name: str
    what: str
    shared: bool
    made_from: tuple[Link, ...] = ()
    settings: tuple[Setting, ...] = ()
    columns: tuple[Column, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    used: When = _always
    variant: Callable[[Any], str] | None = None

    @property
    def column_names(self) -> list[str]:
        """Names of all columns that its files may have, in order."""
        return [column.name for column in self.columns]

    @property
    def schema(self) -> pa.Schema:
        """Of a part with all columns."""
        return _schema(self.columns)

    def schema_for(self, config: Any) -> pa.Schema:
        """Of a part as a run writes it."""
        return _schema(column for column in self.columns if column.when(config))

    def settings_of(self, config: Any, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What decides the stage's outcome in a run: only what has a say.

        Args:
            config: The run's settings.
            given: What the stage's module gives.
        """
        found = {s.name: getattr(config, s.of or s.name) for s in self.settings if not s.by_stage and s.when(config)}
        return {**found, **(given or {})}

    def links_of(self, config: Any) -> list[str]:
        """The stages that it is made from in a run, but for those that its module names."""
        return [link.stage for link in self.made_from if not link.by_stage and link.when(config)]


def _schema(columns: Iterable[Column]) -> pa.Schema:
    return pa.schema([(column.name, column.type) for column in columns])


REPEATS = "repeats"  # the column that tells how often a sample is kept, where that may be more than once
CONCEPTS = "concepts.json"
_KEY = Column("key", pa.string(), "The sample's identity, unique in the source.")

# Arrays of the stage cluster, a row a cluster.
CENTROIDS, SIZES, SPREADS = "centroids.npy", "sizes.npy", "spreads.npy"

# Where an image lies, in this order everywhere; `lavis_tldr.sources.ImageLocation` takes them so.
_PLACE = (
    Column("image_path", pa.string(), "File that holds the image: its own, a tar, or `TABLE#parquet:COLUMN`."),
    Column(
        "image_offset",
        pa.int64(),
        "Byte in the tar at which it begins, or the table's row; -1 where the file is its own.",
    ),
    Column("image_size", pa.int64(), "Number of its bytes; -1 where the file is its own."),
)
PLACE = tuple(column.name for column in _PLACE)

_RECORD = (
    _KEY,
    Column("image_key", pa.string(), "The image's key; pairs of one image share it."),
    Column("caption_original", pa.string(), "The caption as the source has it, white space tidied."),
    Column("error", pa.string(), 'Why the record can\'t be used; "" where it can.'),
    *_PLACE,
)

_METADATA_MEANINGS = {
    "url": "Where the image was downloaded from, as the source has it.",
    "sha256": "Digest of the image's bytes, as the source has it.",
    "width": "Pixels, as the source has them.",
    "height": "Likewise.",
    "original_width": "Before the source's downloader resized the image.",
    "original_height": "Likewise.",
}
_METADATA = tuple(Column(name, kind, _METADATA_MEANINGS[name], since="0.2") for name, kind in METADATA.items())

_CLUSTERED = (
    Column("cluster", pa.int32(), "The cluster's number; -1 for a record that failed.", -1),
    Column("distance", pa.float32(), "Squared L2 distance to the centroid; NaN where in no cluster.", math.nan),
    Column("prototype_distance", pa.float32(), "Cosine distance to the centroid; NaN likewise.", math.nan),
)

_SELECTED = (
    Column("alignment", pa.float32(), "How well the original caption fits its image; NaN where not scored.", math.nan),
    Column(
        "score", pa.float32(), "What the selection ranked by, higher is kept first; NaN where a draw decided.", math.nan
    ),
    Column("filtered", pa.bool_(), "Left out before the selection: by the prefilter, or for a short caption.", False),
    Column("kept", pa.bool_(), "Whether the sample is in the reduced set.", False),
    Column(
        "understudy",
        pa.int32(),
        "Turn to step in for a kept sample of its cluster whose image is lost, 1 the first; 0: kept or failed.",
        0,
    ),
    Column("duplicate_of", pa.string(), 'Key of the sample that it nearly repeats; "" for none.', ""),
    Column(
        REPEATS,
        pa.int32(),
        "How often the reduced set has the sample, 0 where it is not kept. With max_repeats above 1.",
        0,
        when=lambda c: c.max_repeats > 1,
        since="0.2",
    ),
    Column(
        "capped",
        pa.string(),
        'Why the concept cap left it out: "concept cap" or "no concept", else "". With concept_cap.',
        "",
        when=lambda c: c.concept_cap is not None,
        since="0.2",
    ),
)

_REFINED = (
    Column("caption_generated", pa.string(), "What the captioner says of the image.", ""),
    Column("caption", pa.string(), "What became the caption.", ""),
    Column(
        "caption_from",
        pa.string(),
        "Where it comes from: original, generated, original_generated (in this order), generated_original, drawn or "
        '"".',
        "",
    ),
    Column(
        "alignment_generated",
        pa.float32(),
        "How well caption_generated fits; NaN where not asked for.",
        math.nan,
    ),
    Column("alignment_refined", pa.float32(), "How well caption fits; NaN likewise.", math.nan),
    Column(
        "generated_by",
        pa.string(),
        "How caption_generated was come by: decoded, sampled or borrowed; where there were several to choose from.",
        "",
        when=lambda c: c.reranks,
        since="0.2",
    ),
)

_LEDGER_ONLY = (
    Column("part", pa.string(), "Name of the source's part that holds the record."),
    Column("reason", pa.string(), 'What became of it: "kept", "dropped: WHY" or "failed: ERROR".'),
)


def _columns(names: str, *groups: Iterable[Column]) -> tuple[Column, ...]:
    """Columns of several groups in the order of ``names``."""
    known = {column.name: column for group in groups for column in group}
    return tuple(known[name] for name in names.split())


def _scores() -> tuple[Column, ...]:
    """What the stage score may write, by the ways to score."""
    found: dict[str, list[str]] = {}
    for kind, alignment in ALIGNMENTS.items():
        for name in alignment.columns:
            found.setdefault(name, []).append(kind)
    return tuple(
        Column(
            name,
            pa.float32(),
            f"{ALIGNMENTS[kinds[0]].columns[name]} With alignment {' or '.join(kinds)}.",
            when=lambda config, kinds=frozenset(kinds): not kinds.isdisjoint(config.scorers),
        )
        for name, kinds in found.items()
    )


_BF16 = Setting("bf16")
_CAPTIONING = (Setting("decoding", of="decoding_settings", note="num_beams, max_len, min_len, length_penalty"), _BF16)
_REFINING = (
    Setting("recipe"),
    Setting("joiner"),
    *_CAPTIONING,
    Setting("alignment", when=lambda c: c.scores_refined, note="where refined captions are scored"),
    Setting(
        "alignment_threshold", of="gate", when=lambda c: RECIPES[c.recipe].needs_alignment, note="with recipe gated"
    ),
    Setting(
        "gate_margin",
        when=lambda c: RECIPES[c.recipe].needs_alignment and c.gate_margin > 0,
        note="with recipe gated, where above 0",
    ),
    Setting(
        "candidates",
        when=lambda c: c.reranks,
        note="num_sampled, temperature, top_p, num_borrowed, bank_size and alignment_seed, where several are made",
    ),
)
_MODEL = ("model", "Digest of the captioner's weights and of the settings that its codes depend on.")

_TABLE = (
    StageSpec(
        "encode",
        "Code indices of each image's patches, their mean feature and [CLS], for every record of the source.",
        shared=True,
        settings=(
            Setting("source", by_stage=True),
            Setting("vis_processor", by_stage=True),
            _BF16,
            Setting("cached_features", by_stage=True),
            Setting("feature", by_stage=True),
        ),
        inputs=(_MODEL, ("part NAME", "Digest of a part of the source.")),
        columns=(
            *_RECORD,
            Column(
                "codes", pa.list_(pa.uint16()), "Code index of each of the L patches; null for a record with an error."
            ),
            Column(
                "feature",
                pa.list_(pa.float16()),
                "Mean patch feature before quantizing and then [CLS], 2 D numbers; null likewise.",
            ),
            *_METADATA,
        ),
    ),
    StageSpec(
        "caption",
        "What the captioner says of every usable image.",
        shared=True,
        made_from=(Link("encode"),),
        settings=(
            *_CAPTIONING,
            Setting("sampling", when=lambda c: c.num_sampled > 0, note="num_sampled, temperature, top_p and the seed"),
        ),
        inputs=(_MODEL,),
        columns=(
            _KEY,
            replace(_REFINED[0], fill=None),
            Column(
                "captions_sampled",
                pa.list_(pa.string()),
                "Captions drawn from the captioner, num_sampled of them.",
                when=lambda c: c.num_sampled > 0,
                since="0.2",
            ),
        ),
        used=lambda c: c.captions_all,
    ),
    StageSpec(
        "score",
        "How well each usable caption fits its image.",
        shared=True,
        made_from=(
            Link("encode"),
            Link("caption", lambda c: c.scores_use_captions, "where captions are compared with generated ones"),
        ),
        settings=(
            Setting("alignment"),
            _BF16,
            Setting(
                "seed",
                of="alignment_seed",
                when=lambda c: not c.scores_by_blip_alone,
                note="run.alignment_seed; not by BLIP",
            ),
            Setting(
                "fit_size",
                when=lambda c: not {"contrastive", "normsim"}.isdisjoint(c.scorers),
                note="with alignment contrastive or normsim",
            ),
            Setting("num_contrast", when=lambda c: c.scores_by_captioner, note="where the captioner scores"),
            *(
                Setting(name, when=lambda c: "normsim" in c.scorers, note="with alignment normsim")
                for name in ("normsim_p", "normsim_of")
            ),
            *(
                Setting(name, when=lambda c: "given" in c.scorers, note="with alignment given")
                for name in ("given_score", "given_temperature")
            ),
            Setting(
                "scorers",
                when=lambda c: c.alignment == MIXTURE,
                note="run.mixture and run.mixture_of, with alignment mixture",
            ),
            Setting("mixture", when=lambda c: c.fits_mixture, note="where its weights are fitted"),
        ),
        inputs=(
            _MODEL,
            ("sentence encoder", "Digest of its weights, where it is used."),
            ("blip", "Digest of BLIP's weights, where it is used."),
            ("trusted pairs", "Digest of the pairs known to be right, where there are any."),
            ("target", "Digest of run.target's pairs, where there is one (alignment normsim)."),
            ("embeddings", "Digest of the files of run.embeddings (alignment given)."),
        ),
        columns=(_KEY, *_scores()),
        files=(
            ("scorer.safetensors", "The fitted heads (alignment contrastive)."),
            ("target.safetensors", "Features of the target (alignment normsim)."),
            ("others.safetensors", "Embeddings of the pairs that all are compared with (alignment given, negclip)."),
            (
                "mixture.json",
                "Fitted weights (alignment mixture): intercept, and of each score weight, mean, deviation.",
            ),
        ),
        used=lambda c: c.needs_scores,
        variant=lambda c: c.score_variant,
    ),
    StageSpec(
        "gradient",
        "How much each usable pair moves a small image-text network.",
        shared=True,
        made_from=(Link("encode"),),
        settings=(Setting("fit_size"), Setting("seed", of="alignment_seed", note="run.alignment_seed")),
        columns=(_KEY, Column("gradient", pa.float32(), "Norm of the pair's gradient.")),
        files=(("network.safetensors", "The trained network."),),
        used=lambda c: c.needs_gradients,
    ),
    StageSpec(
        "cluster",
        "The cluster of each usable sample, by K-Means over what represents it.",
        shared=True,
        made_from=(Link("encode"),),
        settings=(
            Setting("representation"),
            Setting("num_clusters"),
            Setting("fit_size"),
            Setting("seed"),
            Setting("prototype_distance", by_stage=True),
            Setting("tfidf", when=lambda c: c.representation == "histogram", note="with representation histogram"),
        ),
        inputs=(
            ("sentence encoder", "Digest of its weights, with representation text."),
            ("blip", "Digest of BLIP's weights, with representation blip."),
        ),
        columns=(_KEY, *_CLUSTERED),
        files=(
            (CENTROIDS, "Centroids, (C, F)."),
            (SIZES, "Members of each cluster, (C,)."),
            (SPREADS, "Mean cosine distance of the members to their centroid, (C,)."),
        ),
        variant=lambda c: c.cluster_variant,
    ),
    StageSpec(
        "select",
        "Which usable samples are kept, and in which order the others would step in.",
        shared=False,
        made_from=(
            Link("cluster"),
            Link("score", lambda c: c.needs_scores, "where scores are needed"),
            Link("gradient", lambda c: c.needs_gradients, "with selection or prefilter gradient"),
        ),
        settings=(
            Setting("selection"),
            Setting("keep_ratio"),
            Setting("seed"),
            Setting("alignment", when=lambda c: c.needs_scores, note="where scores are needed"),
            Setting("mixture", when=lambda c: c.needs_scores and c.alignment == MIXTURE, note="with alignment mixture"),
            Setting("balance", when=lambda c: c.selection in CRITERIA, note="where a criterion selects"),
            *(
                Setting(name, when=lambda c: c.quota == "density" and c.selection != RANDOM, note="with quota density")
                for name in ("quota", "density_temperature")
            ),
            *(
                Setting(name, when=lambda c: bool(c.prefilter), note="where there is a prefilter")
                for name in ("prefilter", "prefilter_share", "prefilter_scope")
            ),
            Setting("min_words", when=lambda c: c.min_words > 0, note="where above 0"),
            *(
                Setting(name, when=lambda c: c.max_repeats > 1, note="with max_repeats above 1")
                for name in ("max_repeats", "repeat_penalty")
            ),
            *(
                Setting(name, when=lambda c: c.concept_cap is not None, note="with concept_cap")
                for name in ("concept_cap", "keep_unmatched")
            ),
            *(
                Setting(
                    name, when=lambda c: c.duplicate_threshold is not None, note="where near duplicates are dropped"
                )
                for name in ("duplicate_threshold", "duplicate_by")
            ),
            Setting(
                "tfidf",
                when=lambda c: c.duplicate_threshold is not None and c.duplicate_by == "histogram",
                note="where twins are told by histograms",
            ),
        ),
        columns=(_KEY, *_CLUSTERED, *_SELECTED),
        files=((CONCEPTS, "How many samples of each concept pass at most, and how many have each (concept_cap)."),),
    ),
    StageSpec(
        "refine",
        "What became of the captions of the kept samples.",
        shared=False,
        made_from=(
            Link("select"),
            Link("caption", lambda c: c.captions_all, "where every image is captioned"),
            Link("score", lambda c: c.scores_refined, "where refined captions are scored"),
        ),
        settings=_REFINING,
        inputs=(_MODEL,),
        columns=(_KEY, *_REFINED),
    ),
    StageSpec(
        "repair",
        "The same of samples that stand in for kept ones whose image is lost; only where a repair found some.",
        shared=False,
        made_from=(Link("refine"),),
        settings=(*_REFINING, Setting("plan", by_stage=True)),
        columns=(_KEY, *_REFINED),
    ),
    StageSpec(
        "ledger",
        "Every record of the source with what became of it and why; kept + dropped + failed = read.",
        shared=False,
        made_from=(Link("refine"), Link("repair", by_stage=True, note="where images were lost")),
        settings=(
            Setting("selection"),
            Setting("prefilter"),
            Setting("min_words", when=lambda c: c.min_words > 0, note="where above 0"),
        ),
        columns=_columns(
            "key image_key part caption_original error cluster distance prototype_distance alignment score kept reason "
            "understudy caption_generated caption caption_from alignment_generated alignment_refined image_path "
            f"image_offset image_size {' '.join(METADATA)} {REPEATS} generated_by",
            _RECORD,
            _METADATA,
            _CLUSTERED,
            _SELECTED,
            _REFINED,
            _LEDGER_ONLY,
        ),
    ),
    StageSpec(
        "build",
        "What LAVIS trains on, by `tldr_reduced`.",
        shared=False,
        made_from=(Link("ledger"),),
        settings=(Setting("images"),),
        files=(
            (
                "annotations.json",
                "LAVIS annotations: image, key, caption, caption_original, caption_generated; and repeats.",
            ),
            ("keys.txt", "Keys of the kept samples, one a line."),
            ("images/PART/", "Copies of the kept images (images: export)."),
        ),
    ),
)

STAGES: dict[str, StageSpec] = {spec.name: spec for spec in _TABLE}
SHARED_STAGES = tuple(name for name, spec in STAGES.items() if spec.shared)
OWN_STAGES = tuple(name for name, spec in STAGES.items() if not spec.shared)
VARIED_STAGES = tuple(name for name, spec in STAGES.items() if spec.variant)


def dependents(names: Collection[str], config: Any) -> list[str]:
    """These stages and all that a run makes from them, directly or not, in order."""
    found = set(names)
    for name, spec in STAGES.items():
        links = spec.links_of(config) + [link.stage for link in spec.made_from if link.by_stage]
        if found.intersection(links):
            found.add(name)
    return [name for name in STAGES if name in found]


def used_stages(config: Any) -> list[str]:
    """The stages that a run's set is made from, in order."""
    return [name for name, spec in STAGES.items() if spec.used(config)]


def variants_of(config: Any) -> dict[str, str]:
    """Which variant of the stages that have several a run's set uses, by stage."""
    return {name: STAGES[name].variant(config) for name in VARIED_STAGES}


def shared_variants(config: Any) -> dict[str, str]:
    """The shared stages that a run's set is made from, in order, with its variant of each ("" where it has none)."""
    variants = variants_of(config)
    return {name: variants.get(name, "") for name in used_stages(config) if name in SHARED_STAGES}
