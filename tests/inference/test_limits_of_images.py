"""Several images have no more pixels together than one may have."""

import dataclasses

import pytest

from inference.errors import ImageTooLargeError
from inference.limits import check_limits
from inference.request import Request
from inference.settings import Limits
from tests.conftest import picture


def test_images_together_have_the_bound_of_one():
    limits = dataclasses.replace(Limits(), max_pixels=2 * 64 * 96)
    check_limits(Request([picture(64, 96, seed) for seed in (0, 1)], "Which?"), limits)
    with pytest.raises(ImageTooLargeError, match="18,432 pixels together; the limit is 12,288"):
        check_limits(Request([picture(64, 96, seed) for seed in (0, 1, 2)], "Which?"), limits)
