"""No word, picture or number of a finding changes unnoticed."""

from tests.visualize.findings.what_is_said import KNOWN, what_is_said
from tests.visualize.kept import assert_kept


def test_what_findings_say_is_what_was_read_and_kept():
    assert_kept(KNOWN, what_is_said())
