import hashlib
import re

import pytest

from tests.visualize.factory import comparison, recording, tokens
from visualize import Selection, file_name


@pytest.fixture
def pair():
    return comparison(recording(focus=(7, 8)), recording("find-red", seed=1, focus=(7, 8)))


@pytest.mark.parametrize(
    ("selection", "name"),
    [
        (Selection(3, 7), "attention-base-find-red-token-7-red-layer-3.png"),
        (Selection((1, 3), 8), "attention-base-find-red-token-8-circle-layers-1-3.png"),
        (Selection(0, 4), "attention-base-find-red-token-4-layer-0.png"),
        (Selection(0, 9), "attention-base-find-red-token-9-end-layer-0.png"),
        (Selection(0, "answer"), "attention-base-find-red-tokens-7-8-layer-0.png"),
        (Selection(0, (2, 5)), "attention-base-find-red-tokens-2-5-layer-0.png"),
        (Selection(0, 7, head=((1, 2), (3, 0))), "attention-base-find-red-token-7-red-heads-L1H2-L3H0.png"),
        (
            Selection(0, 7, head=tuple((layer, head) for layer in range(3) for head in range(2))),
            "attention-base-find-red-token-7-red-6-heads-"
            + hashlib.sha256(b"L0H0,L0H1,L1H0,L1H1,L2H0,L2H1").hexdigest()[:8]
            + ".png",
        ),
        (Selection(0, "focus", head=2), "attention-base-find-red-tokens-7-8-layer-0-head-2.png"),
        (Selection(0, "focus", head="max"), "attention-base-find-red-tokens-7-8-layer-0-head-max.png"),
        (Selection(1, 7, view="sink-masked"), "attention-base-find-red-token-7-red-layer-1-sink-masked.png"),
    ],
)
def test_a_files_name_says_variants_token_and_layer_and_what_is_not_usual(pair, selection, name):
    assert file_name(pair, selection, "png", variants=(None, "find-red")) == name


def test_one_variant_is_named_alone(pair):
    assert (
        file_name(pair, Selection(0, 7), "npz", variants=("find-red",)) == "attention-find-red-token-7-red-layer-0.npz"
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("<b onclick=x>", "b-onclick-x"),
        ("猫 \u202e\n", ""),
        (' "A:B|C?*', "A-B-C"),
        ("a" * 300, "a" * 64),
        ("-x.", "x"),
    ],
)
def test_only_plain_letters_of_a_strangers_words_are_in_it(text, part):
    one = comparison(recording(row=tokens(answer=(text,))))
    name = file_name(one, Selection(0, 7), "png", variants=(None,))
    assert name == "-".join(filter(None, ["attention-base-token-7", part, "layer-0.png"]))
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
