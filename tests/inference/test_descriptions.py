"""What is said of adapters is checked where it is made."""

import pytest

from inference.descriptions import check_adapter_name
from inference.errors import InputError


def test_names_that_are_not_plain_labels_are_refused():
    for good in ("a", "find-red", "run.v1_2-checkpoint-100", "keys", "x" * 64):
        assert check_adapter_name(good) == good
    for bad in ("", "-a", "a-", "a/b", "a b", "a\n", "<b>", "Base", "OWN", "x" * 65, None, 3, "é"):
        with pytest.raises(InputError):
            check_adapter_name(bad)
