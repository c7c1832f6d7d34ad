"""Sets of drawn scenes: a noisy one as WebDataset tars, and a clean one as LAVIS annotations.

Everything follows from the seed: the same call with the same PIL writes the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from PIL import ImageEnhance

from lavis_tldr.exports.annotation_list import write_annotations
from lavis_tldr.files import open_whole
from lavis_tldr.scenes.captions import alt_text, caption
from lavis_tldr.scenes.drawing import draw_scene
from lavis_tldr.scenes.layout import Scene, build_world, jitter, random_scene, unlike

_ALT_TEXT_SHARE = 0.3  # of the misaligned captions
_CAPTIONS_PER_IMAGE = {"finetune": 3, "dev": 5}


@dataclass
class Truth:
    """What is true of a drawn pair.

    Args:
        aligned: The caption is about this image. False where it is empty.
        duplicate_of: Key of the pair whose scene this one repeats, or None.
        broken: The image's bytes are damaged.
        empty: The caption is empty.
        true_caption: A caption that is true of the scene; the pair's own where it is aligned.
        shapes: Names of the shapes in the picture, each once.
        background: Name of its background.
    """

    aligned: bool
    duplicate_of: str | None
    broken: bool
    empty: bool
    true_caption: str
    shapes: list[str]
    background: str


def draw_scenes(
    out_dir: str | Path,
    *,
    num_samples: int = 1200,
    seed: int = 0,
    misaligned: float = 0.4,
    near_duplicates: float = 0.15,
    broken: float = 0.01,
    empty_captions: float = 0.01,
    variety: float = 1.0,
    max_things: int = 4,
    part_size: int = 300,
    image_size: int = 112,
) -> dict[str, dict]:
    """Draw a noisy set: ``<out_dir>/00000.tar``, ... in img2dataset's layout, and ``truth.json`` beside them.

    Args:
        out_dir: Folder, made if missing.
        num_samples: Pairs in all.
        seed: Of everything that is drawn by lot.
        misaligned: Share of pairs whose caption is another scene's, or an alt text about nothing drawn.
        near_duplicates: Share of pairs that repeat another pair's scene, moved a little, recompressed and
            captioned in other words. They are misaligned as often as the others.
        broken: Share of pairs with truncated or garbage image bytes.
        empty_captions: Share of pairs without a caption.
        variety: Share of all things, colours and places that scenes are made of: a smaller world is learnt sooner.
        max_things: Most things in a scene, 1 to 4.
        part_size: Pairs in a tar, at most 10000.
        image_size: Side of an image in pixels.

    Returns:
        The content of ``truth.json``: the fields of :class:`Truth` by key.

    Raises:
        ValueError: If a number is out of range, or ``out_dir`` holds tars of another set.
    """
    shares = {"misaligned": misaligned, "broken": broken, "empty_captions": empty_captions}
    _check(num_samples, part_size, image_size, {**shares, "near_duplicates": near_duplicates})
    if sum(shares.values()) > 1:
        raise ValueError(f"{' + '.join(shares)} is {sum(shares.values()):g}; no pair has two of them: keep it under 1.")
    out_dir = Path(out_dir)
    names = [f"{index:05d}.tar" for index in range(-(-num_samples // part_size))]
    others = sorted(path.name for path in out_dir.glob("*.tar") if path.name not in names)
    if others:
        raise ValueError(f"{out_dir} holds tars of another set ({', '.join(others[:3])}); give an empty folder.")

    rng = Random(f"noisy scenes {seed}")
    keys = [f"{i // part_size:05d}{i % part_size:04d}" for i in range(num_samples)]
    flaws = _deal(rng, num_samples, shares)
    twins = _deal_duplicates(rng, flaws, round(near_duplicates * num_samples))
    world = build_world(variety, max_things)
    scenes = [random_scene(rng, world) for _ in range(num_samples)]
    for copy, original in twins.items():
        scenes[copy] = jitter(scenes[original], rng)
    truth: dict[str, Truth] = {}
    samples: list[tuple[str, bytes, str]] = []
    for i, key in enumerate(keys):
        flaw, true_caption = flaws[i], caption(scenes[i], rng)
        text = {"misaligned": _wrong_caption(scenes, i, rng), "empty_captions": ""}.get(flaw, true_caption)
        data = _jpeg(scenes[i], image_size, rng, altered=i in twins)
        if flaw == "broken":
            data = _damage(data, rng)
        samples.append((key, data, text))
        original = keys[twins[i]] if i in twins else None
        aligned = flaw not in ("misaligned", "empty_captions")
        shapes = sorted({thing.shape for thing in scenes[i].things})
        truth[key] = Truth(
            aligned,
            original,
            flaw == "broken",
            flaw == "empty_captions",
            true_caption,
            shapes,
            scenes[i].background,
        )
    for index, name in enumerate(names):
        _write_tar(out_dir / name, samples[index * part_size : (index + 1) * part_size], image_size)
    table = {key: asdict(fact) for key, fact in truth.items()}
    with open_whole(out_dir / "truth.json") as file:
        file.write((json.dumps(table, indent=0) + "\n").encode())
    return table


def draw_clean_set(
    out_dir: str | Path,
    num_samples: int = 400,
    seed: int = 0,
    *,
    dev_share: float = 0.25,
    variety: float = 1.0,
    max_things: int = 4,
    image_size: int = 112,
) -> tuple[Path, Path]:
    """Draw a clean set of scenes that :func:`draw_scenes` does not draw with any seed.

    Writes ``images/finetune/*.jpg`` and ``images/dev/*.jpg``, ``finetune.json`` (LAVIS ``coco_caption``
    layout, three captions an image, each an entry) and ``dev.json`` (LAVIS retrieval layout, five in a
    list). Paths in both start from ``images``.

    Args:
        out_dir: Folder, made if missing.
        num_samples: Images in all, at least 2.
        seed: Of everything that is drawn by lot.
        dev_share: Share of the images that goes to ``dev.json``; at least one goes to each.
        variety, max_things: As for :func:`draw_scenes`.
        image_size: Side of an image in pixels.

    Returns:
        Paths of ``finetune.json`` and ``dev.json``.

    Raises:
        ValueError: If a number is out of range.
    """
    _check(num_samples, 1, image_size, {"dev_share": dev_share}, least=2)
    out_dir = Path(out_dir)
    rng, world = Random(f"clean scenes {seed}"), build_world(variety, max_things)
    num_dev = min(max(round(dev_share * num_samples), 1), num_samples - 1)
    rows: dict[str, list[tuple[str, list[str]]]] = {"finetune": [], "dev": []}
    for i in range(num_samples):
        split = "dev" if i < num_dev else "finetune"
        scene = random_scene(rng, world)
        image = f"{split}/{len(rows[split]):06d}.jpg"
        with open_whole(out_dir / "images" / image) as file:
            file.write(_jpeg(scene, image_size, rng, altered=False))
        rows[split].append((image, _captions(scene, rng, _CAPTIONS_PER_IMAGE[split])))
    finetune = [
        {"image": image, "caption": text, "image_id": f"finetune_{i}"}
        for i, (image, texts) in enumerate(rows["finetune"])
        for text in texts
    ]
    dev = [{"image": image, "caption": texts} for image, texts in rows["dev"]]
    write_annotations(out_dir / "finetune.json", finetune)
    write_annotations(out_dir / "dev.json", dev)
    return out_dir / "finetune.json", out_dir / "dev.json"


def _check(num_samples: int, part_size: int, image_size: int, shares: dict[str, float], least: int = 1) -> None:
    if num_samples < least:
        raise ValueError(f"num_samples is {num_samples}; it must be at least {least}.")
    if not 1 <= part_size <= 10_000:
        raise ValueError(f"part_size is {part_size}; it must be between 1 and 10000.")
    if image_size < 32:
        raise ValueError(f"image_size is {image_size}; the things can be told apart from 32 pixels on.")
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"{name} is {share}; it is a share of the pairs and must be in [0, 1).")


def _deal(rng: Random, count: int, shares: dict[str, float]) -> list[str]:
    """The flaw of each pair ("" for none): exactly the share of each, spread by lot."""
    flaws = [name for name, share in shares.items() for _ in range(round(share * count))][:count]
    flaws += [""] * (count - len(flaws))
    rng.shuffle(flaws)
    return flaws


def _deal_duplicates(rng: Random, flaws: list[str], count: int) -> dict[int, int]:
    """Copy to original, by position. Neither is broken, so that what is a duplicate can be seen."""
    whole = [i for i, flaw in enumerate(flaws) if flaw != "broken"]
    rng.shuffle(whole)
    copies, originals = whole[:count], whole[count:]
    return {copy: rng.choice(originals) for copy in copies} if originals else {}


def _wrong_caption(scenes: list[Scene], i: int, rng: Random) -> str:
    if rng.random() < _ALT_TEXT_SHARE:
        return alt_text(rng)
    for _ in range(100):
        other = rng.choice(scenes)
        if unlike(scenes[i], other):
            return caption(other, rng)
    return alt_text(rng)  # A set so small that every scene has something of this one.


def _captions(scene: Scene, rng: Random, count: int) -> list[str]:
    """Captions of one scene, different where the scene has that many wordings."""
    found = [caption(scene, rng)]
    for _ in range(20 * count):
        if len(found) == count:
            break
        if (text := caption(scene, rng)) not in found:
            found.append(text)
    return found + [found[0]] * (count - len(found))


def _jpeg(scene: Scene, image_size: int, rng: Random, *, altered: bool) -> bytes:
    image = draw_scene(scene, image_size)
    if altered:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.93, 1.07))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=rng.randint(60, 75) if altered else 90)
    return buffer.getvalue()


def _damage(data: bytes, rng: Random) -> bytes:
    return data[: len(data) // 3] if rng.random() < 0.5 else rng.randbytes(600)


def _write_tar(path: Path, samples: list[tuple[str, bytes, str]], image_size: int) -> None:
    with open_whole(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, image, text in samples:
            fields = {
                "key": key,
                "caption": text,
                "status": "success",
                "width": image_size,
                "height": image_size,
            }
            for suffix, data in (
                ("jpg", image),
                ("txt", text.encode()),
                ("json", json.dumps(fields).encode()),
            ):
                member = tarfile.TarInfo(f"{key}.{suffix}")  # mtime, uid and gid are 0
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
