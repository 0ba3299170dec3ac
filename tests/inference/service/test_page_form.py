"""What the page sends is read in the order of its fields, and refused with what a person can do."""

import pytest

from inference.errors import InputError
from inference.service.page_form import PageForm

SENT = [None, "What?", "", ["find-red"], "base", "compare", 8, 1.0, [], []]


def test_the_values_of_the_widgets_are_the_fields_in_their_order():
    form = PageForm.of(SENT)
    assert (form.prompt, form.adapter, form.compare, form.replay) == ("What?", ["find-red"], "base", "compare")
    assert (form.max_new_tokens, form.scale) == (8, 1.0)


def test_a_value_that_no_widget_sends_is_refused_with_what_a_person_can_do():
    with pytest.raises(InputError) as refused:
        PageForm.of([*SENT[:6], "many", *SENT[7:]])
    assert refused.value.message == "max_new_tokens must be a whole number, 1 or more; not 'many'."
    assert refused.value.hint == "Reload the page, and try again."
