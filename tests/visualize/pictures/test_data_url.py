"""A picture inside a text, read back."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from tests.visualize.factory import photo
from visualize.pictures.data_url import data_url

PICTURE = Image.fromarray(photo((40, 60)))


def read(url):
    head, _, text = url.partition(",")
    return head, Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def test_a_png_is_exact():
    head, picture = read(data_url(PICTURE, "PNG"))
    assert head == "data:image/png;base64"
    assert picture.format == "PNG"
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(PICTURE))


@pytest.mark.parametrize(
    ("options", "quality", "sampling"),
    [({}, 90, 2), ({"quality": 75}, 75, 2), ({"subsampling": 0}, 90, 0), ({"quality": 95, "subsampling": 0}, 95, 0)],
)
def test_a_jpeg_has_its_quality_and_colours_at_as_many_pixels_as_asked(options, quality, sampling):
    head, picture = read(data_url(PICTURE, "JPEG", **options))
    assert head == "data:image/jpeg;base64"
    assert JpegImagePlugin.get_sampling(picture) == sampling
    # the standard's table of brightness (ITU T.81, K.1) begins with 16, 11, 10, 16, scaled by 2 − quality/50
    assert picture.quantization[0][:4] == [int((first * (200 - 2 * quality) + 50) / 100) for first in (16, 11, 10, 16)]
