"""A few frames of a video, spread evenly.

Which ones is a rule. With n frames of which F are taken, i = 0 .. F - 1:

    segments  floor((i + 1/2) n / F)   centres of F equal segments: neither the first frame, often black, nor the last
    blip      i floor(n / F)           BLIP's ``np.arange(0, n, n / F, dtype=int)``, whose step is cut to an integer
    lavis     floor(i n / F)           beginnings of F equal segments, as LAVIS's ``load_video``

Of 100 frames and F = 8 these are 6 18 31 43 56 68 81 93, 0 12 24 36 48 60 72 84 and 0 12 25 37 50 62 75 87. A video of
fewer frames than F repeats some by the same rule. (So BLIP's gives the first frame alone, F times, which its authors'
code does, too. LAVIS gives fewer frames then, and can't stack them with other videos'; here it repeats.)
"""

from pathlib import Path

import numpy as np
from decord import VideoReader, cpu
from PIL import Image

from lavis_tldr.user_errors import closest

RULES = {
    "segments": lambda places, length, count: (2 * places + 1) * length // (2 * count),
    "blip": lambda places, length, count: places * (length // count),
    "lavis": lambda places, length, count: places * length // count,
}


def frame_numbers(length: int, count: int, rule: str = "segments") -> np.ndarray:
    """Which frames are taken, (count,) int64, in order.

    Args:
        length: Number of frames of the video.
        count: How many are wanted.
        rule: One of `RULES`.

    Raises:
        ValueError: If the rule is unknown, or a number below 1.
    """
    if rule not in RULES:
        raise ValueError(f"the rule of frames {rule!r} is unknown{closest(rule, RULES)}.")
    if length < 1 or count < 1:
        raise ValueError(f"{count} frames of a video of {length}: expected at least 1 of each.")
    return RULES[rule](np.arange(count), length, count)


def read_frames(path: Path, count: int, rule: str = "segments") -> list[Image.Image]:
    """Frames of a video file, RGB, by decord.

    Args:
        path: The file.
        count: How many.
        rule: See `frame_numbers`.

    Raises:
        ValueError: ``"why"``, if it is not there, or no frame of it can be read, as where it has sound alone.
    """
    if not path.is_file():
        raise ValueError("there is no such file")
    try:
        video = VideoReader(str(path), ctx=cpu(0), num_threads=1)
        length = len(video)
        numbers = frame_numbers(length, count, rule) if length else []
        wanted, places = np.unique(numbers, return_inverse=True)
        frames = video.get_batch(wanted.tolist()) if length else []
    except Exception as error:  # decord's own errors derive from Exception alone
        raise ValueError(_reason(error)) from error
    if not length:
        raise ValueError("it has no frames")
    # LAVIS lets decord give torch's tensors; decord itself has arrays of its own.
    pixels = frames.numpy() if hasattr(frames, "numpy") else frames.asnumpy()
    return [Image.fromarray(pixels[place]) for place in places]


def _reason(error: Exception) -> str:
    """What is wrong, without the time, the place in decord's source and the backtrace that its messages have."""
    text = str(error)
    if "cannot find video stream" in text:
        return "it has no video, perhaps sound alone"
    lines = text.split("Check failed: ")[-1].strip().splitlines()
    return f"it can't be decoded: {lines[0] if lines else type(error).__name__}"
