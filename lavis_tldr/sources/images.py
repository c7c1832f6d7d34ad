"""Encoded image bytes to RGB pixels, whatever the web put into them."""

from __future__ import annotations

import re
import threading
from io import BytesIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

MAX_PIXELS = 2**26  # 8192 x 8192
MAX_BYTES = 2**30  # of an encoded image; a larger file is none, and would fill the memory
# A closed list: PIL also knows formats that start other programs (EPS) or have no signature.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "JPEG2000", "AVIF", "PPM", "ICO")
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}
FILE_SUFFIXES = tuple(dict.fromkeys(_SUFFIXES.get(name, f".{name.lower()}") for name in _FORMATS))


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image to RGB.

    The first frame of an animation is taken, EXIF rotation applied, transparency laid over white, and 16-bit
    and floating-point greys are scaled to 8 bits rather than clipped. A truncated image is unreadable, even
    where LAVIS has told PIL to fill up truncated images with grey.

    Args:
        data: Encoded bytes (JPEG, PNG, WebP, GIF, BMP, TIFF, JPEG 2000, PPM, ICO; AVIF where PIL has it).
        max_pixels: Largest width x height decoded. The size is read from the header, before any pixel.

    Returns:
        Image of mode RGB.

    Raises:
        ValueError: ``"unreadable image: why"``; the same bytes always give the same message.
    """
    try:
        with _refuse_truncated, _open(data) as image:
            if image.width * image.height > max_pixels:
                raise ValueError(f"{image.width} x {image.height} pixels, more than the {max_pixels} allowed")
            image.load()
            return _to_rgb(_upright(image))
    # PIL's decoders raise nearly anything on damaged bytes (SyntaxError, struct.error, KeyError, ...).
    except Exception as error:
        raise ValueError(f"unreadable image: {_reason(error)}") from error


def image_suffix(data: bytes) -> str:
    """File suffix that fits an image's content (``".jpg"``, ``".png"``, ...); ``".bin"`` if it is none."""
    try:
        with _open(data) as image:
            return _SUFFIXES.get(image.format, f".{image.format.lower()}")
    except Exception:  # As in decode_image.
        return ".bin"


class _RefuseTruncated:
    """Holds ``ImageFile.LOAD_TRUNCATED_IMAGES`` at False while any thread is inside.

    ``import lavis`` sets that global to True, and what counts as damaged must not depend on imports.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = False

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_refuse_truncated = _RefuseTruncated()


def _open(data: bytes) -> Image.Image:
    if not data:
        raise ValueError("no bytes")
    Image.init()
    return Image.open(BytesIO(data), formats=[name for name in _FORMATS if name in Image.OPEN])


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Damaged EXIF is no reason to lose a good image; it stays as it lies.
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _grey_to_rgb(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _grey_to_rgb(image: Image.Image) -> Image.Image:
    """8-bit version of a grey image with 16 or 32 bits a pixel; PIL's own conversion clips at 255."""
    grey = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16"):
        grey = grey / 257  # 65535 to 255
    elif image.mode == "I" and grey.max() > 255:
        # Older versions of PIL open 16-bit PNGs in this mode, too.
        grey = grey / 257 if grey.max() <= 65535 else grey * (255 / grey.max())
    elif image.mode == "F" and grey.max() <= 1:
        grey = grey * 255
    elif grey.max() > 255:
        grey = grey * (255 / grey.max())
    return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"  # PIL's own text holds a memory address.
    # Without byte counts, so that the ledger's reasons can be counted.
    text = " ".join(re.sub(r" at 0x[0-9a-f]+| \(\d+ bytes not processed\)", "", str(error)).split())
    return text[:200] or type(error).__name__
