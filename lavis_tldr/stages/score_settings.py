"""The settings of `ReduceConfig` by which pairs are scored: how they are read, and what must go together."""

from collections.abc import Mapping, Sequence
from typing import Any

from lavis_tldr.reduction.alignments import ALIGNMENTS, FITTED, MIXABLE, MIXTURE
from lavis_tldr.reduction.criteria import CRITERIA
from lavis_tldr.runs.manifest import digest_of
from lavis_tldr.scoring.normsim import NEAREST, NORMS
from lavis_tldr.sources.embeddings import check_embeddings
from lavis_tldr.user_errors import closest

PAIR, IMAGE = "pair", "image"
NEGCLIP, COSINE = "negclip", "cosine"
_ALIGNED = "aligned"


def read_score_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The ``run`` section's values with short forms written out.

    ``selection: normsim`` (or another kind of alignment) is short for ``selection: aligned`` with that
    ``alignment``; so is ``prefilter``. Numbers of ``normsim_p`` become text.

    Raises:
        ValueError: If a short form and ``alignment`` name different kinds.
    """
    found = dict(values)
    asked = found.get("alignment")
    for name in ("selection", "prefilter"):
        kind = found.get(name)
        if kind in ALIGNMENTS and kind not in CRITERIA:
            if asked not in (None, kind):
                raise ValueError(
                    f"run.{name} {kind} is short for run.{name} {_ALIGNED} with run.alignment {kind}, but {asked} is "
                    f"asked for as well, and a set is scored in one way: ask for one of the two alone, or mix several "
                    f"kinds with run.alignment {MIXTURE}."
                )
            found[name], asked = _ALIGNED, kind
    if asked is not None:
        found["alignment"] = asked
    if isinstance(number := found.get("normsim_p"), (int, float)):
        found["normsim_p"] = f"{number:g}"
    return found


def plain(value: Any) -> Any:
    """A value of a config as plain Python has it."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return value


def variant_of(kind: str, config: Any) -> str:
    """What tells the scores of a kind from others of the run folder: its name, and settings other than the default."""
    if kind == MIXTURE:
        fitted = f"-{FITTED}" if config.mixture == FITTED else ""
        return "-".join([kind, *(variant_of(scorer, config) for scorer in config.scorers)]) + fitted
    if kind == "normsim":
        norm = f"-{config.normsim_p}" if config.normsim_p != NEAREST else ""
        of = f"-{config.normsim_of}" if config.normsim_of != PAIR else ""
        return f"{kind}{norm}{of}" + (f"-{_short(config.target)}" if config.target else "")
    if kind == "given":
        return f"{kind}-{_short([config.embeddings, config.given_score, config.given_temperature])}"
    return kind


def _short(value: Any) -> str:
    return digest_of(value)[:8]


def check_score_settings(config: Any) -> None:
    """Check what the alignment needs besides its name.

    Raises:
        ValueError: If something is missing, unknown or does not go together; says what to do.
    """
    if config.alignment == MIXTURE:
        _check_mixture(config)
    if "normsim" in config.scorers and config.target and "format" not in config.target:
        raise ValueError(
            "run.target names no format; give a source as datasets.tldr_source.source has it, such as {format: folder, "
            "root: DIR}."
        )
    if "given" in config.scorers:
        if not config.embeddings:
            raise ValueError(
                "run.alignment given scores by embeddings that you have: name them in run.embeddings, as {images: "
                "FILE, texts: FILE, keys: FILE}, {tables: FILES} or {scores: FILES, column: NAME}."
            )
        check_embeddings(config.embeddings)


def _check_mixture(config: Any) -> None:
    if config.mixture == FITTED:
        if not config.mixture_of:
            raise ValueError(
                "run.mixture fitted needs run.mixture_of, the kinds of alignment to mix, such as [contrastive, "
                "likelihood]."
            )
        named, where = config.mixture_of, "mixture_of"
        for kind in named:
            if kind in MIXABLE and (ALIGNMENTS[kind].uses_captions or ALIGNMENTS[kind].knows_originals_alone):
                raise ValueError(
                    f"run.mixture fitted scores pairs known to be right, and {kind} has no scores of these: leave it "
                    "out of run.mixture_of, or give the weights in run.mixture."
                )
    elif isinstance(config.mixture, dict) and config.mixture:
        if config.mixture_of:
            raise ValueError("run.mixture gives the weights, so run.mixture_of has no say: leave one of the two out.")
        named, where = tuple(config.mixture), "mixture"
        for kind, weight in config.mixture.items():
            is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
            if not (is_number and 0 < weight < float("inf")):
                raise ValueError(f"run.mixture.{kind} is {weight!r}; a weight is a number above 0.")
    else:
        raise ValueError(
            "run.alignment mixture needs run.mixture, the weights of other kinds, such as {contrastive: 1.0, normsim: "
            f"0.2}}, or fitted with run.mixture_of; found {config.mixture!r}."
        )
    for kind in named:
        if kind not in MIXABLE:
            raise ValueError(f"run.{where} names {kind!r}, which can't be mixed{closest(kind, MIXABLE)}.")


# The values that settings may have, for `ReduceConfig`.
CHOICES = {"normsim_p": NORMS, "normsim_of": (PAIR, IMAGE), "given_score": (NEGCLIP, COSINE)}
