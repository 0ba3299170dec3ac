"""No word, picture or number of a finding changes unnoticed."""

import json

from tests.visualize.findings.what_is_said import KNOWN, what_is_said


def test_what_findings_say_is_what_was_read_and_kept():
    known, said = json.loads(KNOWN.read_text(encoding="utf-8")), what_is_said()
    assert said.keys() == known.keys()
    for part, each in said.items():
        assert list(each) == list(known[part])
        for name, value in each.items():
            assert value == known[part][name], (part, name)
