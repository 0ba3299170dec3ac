"""No word or number that a browser or a report gets changes unnoticed."""

from tests.visualize.kept import assert_kept
from tests.visualize.stacks.what_is_sent import KNOWN, what_is_sent


def test_what_browsers_get_is_what_was_read_and_kept():
    assert_kept(KNOWN, what_is_sent())
