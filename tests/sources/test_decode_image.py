import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from lavis_tldr.sources.images import decode_image, image_suffix


def _save(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats_of_the_web_are_read(encoded, file_format):
    image = decode_image(encoded("red", file_format))
    assert image.mode == "RGB" and image.size == (8, 4)
    red, green, blue = image.getpixel((4, 2))
    assert red > 240 and green < 15 and blue < 15


def test_cmyk_jpeg_becomes_rgb():
    # No cyan, full magenta and yellow, no black: red.
    image = decode_image(_save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = image.getpixel((4, 4))
    assert image.mode == "RGB" and red > 200 and green < 60 and blue < 60


def test_16_bit_grey_is_scaled_not_clipped():
    pixels = np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)
    image = decode_image(_save(Image.fromarray(pixels), "PNG"))
    # 16-bit v stands for v / 65535, so 257 * n is 8-bit n.
    assert [image.getpixel(xy)[0] for xy in ((0, 0), (1, 0), (0, 1), (1, 1))] == [0, 100, 200, 255]


def test_float_grey_in_zero_to_one_is_scaled():
    pixels = np.array([[0.0, 0.2], [1.0, np.nan]], dtype=np.float32)
    image = decode_image(_save(Image.fromarray(pixels), "TIFF"))
    assert [image.getpixel(xy) for xy in ((0, 0), (1, 0), (0, 1), (1, 1))] == [
        (0, 0, 0),
        (51, 51, 51),
        (255, 255, 255),
        (0, 0, 0),
    ]


def test_palette_with_transparency_lies_over_white():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    decoded = decode_image(_save(image, "PNG", transparency=1))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]


def test_half_transparent_pixels_are_mixed_with_white():
    decoded = decode_image(_save(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG"))
    # Black with weight 128/255 and white with 127/255: 127.
    assert decoded.getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP"])
def test_an_animation_gives_its_first_frame(file_format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    decoded = decode_image(_save(frames[0], file_format, save_all=True, append_images=frames[1:]))
    red, _, blue = decoded.getpixel((4, 4))
    assert red > 240 and blue < 15


def test_exif_rotation_is_applied():
    image = Image.new("RGB", (16, 8), "white")
    image.paste("black", (0, 0, 8, 8))  # left half
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 degrees clockwise to view": left goes to the top
    decoded = decode_image(_save(image, "JPEG", exif=exif))
    assert decoded.size == (8, 16)
    assert decoded.getpixel((4, 2))[0] < 30 and decoded.getpixel((4, 13))[0] > 225


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_costs_no_image():
    data = _save(Image.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decode_image(data).size == (8, 8)


def _png_of_size(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side):
    with pytest.raises(ValueError, match="^unreadable image: .*pixels"):
        decode_image(_png_of_size(side, side))


def test_the_pixel_limit_counts_width_times_height(encoded):
    assert decode_image(encoded(size=(8, 4)), max_pixels=32).size == (8, 4)
    with pytest.raises(ValueError, match="8 x 4 pixels, more than the 31 allowed"):
        decode_image(encoded(size=(8, 4)), max_pixels=31)


@pytest.mark.parametrize("data", [b"", b"GIF", b"<html>404</html>", b"\x80\x04\x95pickle", bytes(600)])
def test_bytes_that_are_no_image(data):
    with pytest.raises(ValueError, match="^unreadable image: ") as error:
        decode_image(data)
    assert "0x" not in str(error.value)  # A memory address would make two runs' ledgers differ.
    assert image_suffix(data) == ".bin"


@pytest.mark.parametrize("lenient", [False, True])
def test_truncated_image_whatever_lavis_told_pil(encoded, monkeypatch, lenient):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    data = encoded("red", "JPEG", size=(200, 200))
    with pytest.raises(ValueError, match="^unreadable image: image file is truncated$"):
        decode_image(data[: len(data) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is lenient


def test_postscript_is_never_opened():
    with pytest.raises(ValueError, match="not an image of a known format"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")


@pytest.mark.parametrize(
    "file_format, suffix",
    [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("GIF", ".gif"), ("TIFF", ".tif")],
)
def test_suffix_follows_content(encoded, file_format, suffix):
    assert image_suffix(encoded("red", file_format)) == suffix
