"""Images read from where they lie, and what is told where they are there no more."""

import pytest

from lavis_tldr.sources.image_bytes import read_image_bytes
from lavis_tldr.sources.record import ImageLocation


def test_read_image_bytes(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"0123456789")
    assert read_image_bytes(ImageLocation(str(path))) == b"0123456789"
    assert read_image_bytes(ImageLocation(str(path), 3, 4)) == b"3456"
    with pytest.raises(ValueError, match="has 10 bytes, but an image was recorded at 8 to 12"):
        read_image_bytes(ImageLocation(str(path), 8, 4))
    with pytest.raises(ValueError, match="Cannot read the image in .*gone.jpg: No such file"):
        read_image_bytes(ImageLocation(str(tmp_path / "gone.jpg")))
