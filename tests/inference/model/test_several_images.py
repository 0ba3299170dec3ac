"""Several images in one conversation: ids, rows, maps and shares of every image are upstream's own."""

from pathlib import Path

import numpy as np
import pytest

from inference import Comparison
from inference.adapters.catalog import AdapterCatalog
from inference.errors import InputError, PromptError, SelectionError, UnknownAdapterError
from inference.limits import check_limits
from inference.model.engine import Engine
from inference.questions import AttributionOptions, BlurOptions, ChanceOptions, KnockoutOptions, PartsOptions
from inference.recording import GROUPS, Recording
from inference.request import Request, digest
from inference.serialization import pack_comparison, pack_request, unpack_comparison, unpack_request
from inference.settings import Limits, Settings
from tests import upstream
from tests.adapters import write_adapter
from tests.checkpoints import knowing_tools
from tests.conftest import picture
from tests.conversations import IMAGE, WAIT, text
from tests.inference.model.test_attention_is_the_models_own import Witness, worst_rows
from tests.upstream_mediation import Mediated, shapley

#: Four screenshots of different sizes, none square: 3 × 5, 5 × 2, 3 × 5 and 4 × 6 cells.
SIZES = ((96, 160), (160, 64), (96, 160), (128, 192))
PICTURES = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]
MESSAGES = [
    {"role": "system", "content": "You click."},
    {"role": "user", "content": [IMAGE, text("This was the screen. Then "), IMAGE, text("came.")]},
    {"role": "assistant", "content": "I look.", "tool_calls": [{"name": "wait", "arguments": {"why": "it loads"}}]},
    {"role": "tool", "content": [IMAGE, text("loaded")]},
    {"role": "assistant", "content": "It is there."},
    {"role": "user", "content": [text("Now: "), IMAGE, text("click the red circle.")]},
]
ANSWER = (70, 71, 72)
LINE = {"messages": MESSAGES, "tools": [WAIT]}


@pytest.fixture(scope="module")
def folder(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return knowing_tools(dense, tmp_path_factory.mktemp("tools") / "checkpoint")


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapter") / "one", folder, strength=0.3)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(Settings(model=str(folder), device="cpu", attention="eager"), {})


@pytest.fixture(scope="module")
def comparison(engine: Engine) -> Comparison:
    return engine.compare(asked())


def asked(**more) -> Request:
    return Request(PICTURES, LINE, max_new_tokens=3, **more)


def test_ids_equal_those_of_the_checkpoints_own_chat_template(engine, folder):
    from transformers import AutoTokenizer

    tokenizer, prompt = AutoTokenizer.from_pretrained(folder), engine.prompt(asked())
    rendered = tokenizer.apply_chat_template(MESSAGES, tools=[WAIT], tokenize=False, add_generation_prompt=True)
    for image in prompt.images:
        rendered = rendered.replace("<|image_pad|>", "\0" * image.tokens, 1)
    assert prompt.input_ids.tolist() == tokenizer(rendered.replace("\0", "<|image_pad|>"))["input_ids"]
    assert [image.grid for image in prompt.images] == [(3, 5), (5, 2), (3, 5), (4, 6)]
    places = [*(token.position for token in (*prompt.before, *prompt.tokens))]
    cells = [place for span in prompt.spans for place in range(span.start, span.stop)]
    assert sorted([*places, *cells]) == list(range(prompt.length))
    assert set(prompt.input_ids[cells]) == {engine.checkpoint.model.config.image_token_id}


@pytest.mark.parametrize(("attention", "bound"), [("eager", 1e-6), ("rows", 1e-5)])
def test_rows_maps_and_shares_of_every_image_equal_output_attentions(folder, monkeypatch, attention, bound):
    engine = Engine(Settings(model=str(folder), device="cpu", attention=attention), {})
    witness = Witness(engine.model_info.num_heads, monkeypatch)
    comparison = engine.compare(asked())
    prompt, recording = engine.prompt(asked()), comparison.recordings[0]
    reference = upstream.attentions(upstream.load(folder), prompt, recording.answer_ids)
    assert worst_rows(reference, recording, witness) <= bound
    for index, span in enumerate(prompt.spans):
        assert worst_of_image(reference, prompt, comparison.showing(index).recordings[0], index, span) <= bound


def worst_of_image(reference: np.ndarray, prompt, shown: Recording, index: int, span: slice) -> float:
    """Largest difference of what a recording holds of one image, reduced here in float64."""
    grid, layers = prompt.images[index].grid, len(reference)
    others = [each for at, each in enumerate(prompt.spans) if at != index]
    focus = reference[:, :, [shown.tokens[i].query for i in shown.focus], span].astype(np.float64)
    pairs = [(shown.by_head, focus.mean(axis=2).reshape(*focus.shape[:2], *grid))]
    rows = []
    for at, token in enumerate(shown.tokens):
        row = reference[:, :, token.query].astype(np.float64)
        rows.append(row[:, :, span].mean(axis=1).reshape(layers, *grid))
        pairs.append((shown.by_token[at], rows[-1]))
        shares = shown.group_share[at]
        pairs.append((shares[..., 0], row[:, :, span].sum(axis=-1)))
        pairs += [(shares[..., len(GROUPS) + i], row[:, :, each].sum(axis=-1)) for i, each in enumerate(others)]
        pairs.append((shares.sum(axis=-1), np.ones(shares.shape[:-1])))
    before = rows[: shown.background_rows]
    pairs.append((shown.background, np.mean(before, axis=0)))
    pairs.append((shown.background_low, np.percentile(before, 10, axis=0)))
    assert all(ours.shape == theirs.shape for ours, theirs in pairs)
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)


def test_each_image_can_be_shown_and_what_was_shown_comes_back(comparison):
    assert comparison.shown == 3
    assert [seen.grid for seen in comparison.images] == [(3, 5), (5, 2), (3, 5), (4, 6)]
    for index, size in enumerate(SIZES):
        shown = comparison.showing(index)
        assert (shown.shown, shown.image_size) == (index, size)
        assert np.array_equal(shown.image, np.asarray(PICTURES[index]))
        assert [np.array_equal(a.pixels, b.pixels) for a, b in zip(shown.images, comparison.images, strict=True)] == [
            True
        ] * 4
        back = shown.showing(3)
        assert_same(back, comparison)
    with pytest.raises(SelectionError, match="There is no image 4; this result has images 0–3"):
        comparison.showing(4)


def test_a_saved_and_a_travelled_run_are_the_same_whichever_image_is_shown(comparison, tmp_path):
    for shown in (comparison, comparison.showing(1)):
        shown.save(tmp_path / "run.npz")
        assert_same(Comparison.load(tmp_path / "run.npz"), shown)
        pixels = [np.asarray(each) for each in PICTURES]
        assert_same(unpack_comparison(pack_comparison(shown, float32=True), *pixels), shown)
        half = unpack_comparison(pack_comparison(shown), *pixels).showing(2).recordings[0]
        assert np.allclose(half.by_token, comparison.showing(2).recordings[0].by_token, rtol=2**-11, atol=1e-9)
    request = unpack_request(pack_request(asked()))
    assert digest(request) == digest(asked())
    assert request.conversation == asked().conversation


def assert_same(ours: Comparison, theirs: Comparison) -> None:
    assert (ours.prompt, ours.before, ours.tokens, ours.shown) == (
        theirs.prompt,
        theirs.before,
        theirs.tokens,
        theirs.shown,
    )
    for index in range(4):
        one, other = ours.showing(index), theirs.showing(index)
        assert np.array_equal(one.image, other.image)
        for name in ("by_token", "by_head", "group_share", "background", "background_low", "logprobs"):
            assert np.array_equal(getattr(one.recordings[0], name), getattr(other.recordings[0], name)), name


def test_one_image_of_four_alone_in_the_vision_tower_is_kept_and_read_again(folder):
    """Equal requests give equal bits, whatever was asked before; another order is another request."""
    fresh = Engine(Settings(model=str(folder), device="cpu"), {}).compare(asked(vision_tower=True))
    engine = Engine(Settings(model=str(folder), device="cpu"), {})
    engine.compare(Request(PICTURES[1], "What?", max_new_tokens=2, vision_tower=True))
    again = [engine.compare(asked(vision_tower=True)) for _ in range(2)]
    for each in again:
        assert_same(each, fresh)
        for index, (height, width) in enumerate([(6, 10), (10, 4), (6, 10), (8, 12)]):
            received = each.showing(index).recordings[0].vision_received
            assert received.shape[1:] == (height, width)
            assert np.allclose(received.sum(axis=(1, 2)), 1, atol=1e-5)
    others = [picture(*size, seed=90 + at) for at, size in enumerate(SIZES[:3])]
    like = Request([*others, PICTURES[3]], LINE, max_new_tokens=3, vision_tower=True)  # sizes, words and last image
    assert_same(engine.compare(like), Engine(Settings(model=str(folder), device="cpu"), {}).compare(like))
    turned = engine.compare(Request(PICTURES[::-1], LINE, max_new_tokens=3))
    assert turned.images[0].grid == (4, 6)
    assert digest(Request(PICTURES[::-1], LINE)) != digest(Request(PICTURES, LINE))


def test_plain_words_may_have_several_images_too(engine):
    comparison = engine.compare(Request(PICTURES[:2], "Which is red?", max_new_tokens=2))
    assert [seen.grid for seen in comparison.images] == [(3, 5), (5, 2)]
    assert comparison.recordings[0].group_share.shape[-1] == 5


def test_what_is_said_of_an_image_has_its_number(engine):
    request = Request([picture(640, 960), PICTURES[0]], "Which is red?", max_image_tokens=24, max_new_tokens=2)
    notes = engine.compare(request).notes
    assert any(note.startswith("Image 1: The limit of 24 image tokens") for note in notes)
    assert not any(note.startswith("Image 2") for note in notes)


@pytest.mark.parametrize("attention", ["eager", "rows"])
def test_seeing_looking_and_saying_equal_upstreams_with_the_weights_replaced(folder, adapter, attention):
    """What either variant reads of all four images, and of the words between them, is swapped as one."""
    engine = Engine(Settings(model=str(folder), device="cpu", attention=attention), AdapterCatalog({"one": adapter}))
    request, answer = asked(adapters=(None, "one"), answer=ANSWER), ANSWER
    prompt = engine.prompt(request)
    theirs = Mediated(folder, [None, adapter], prompt, answer, index=1)
    ours = engine.explain(request, AttributionOptions(len(prompt.tokens) + 1, by="head", layers=(0,)))
    expected = theirs.eight(theirs.logprob)
    np.testing.assert_allclose(ours.outcomes, expected, atol=1e-5, rtol=0)
    found = [ours.seeing, ours.looking, ours.saying]
    np.testing.assert_allclose(found, shapley(expected), atol=1e-5, rtol=0)
    assert min(map(abs, found)) > 1e-3
    heads = range(engine.model_info.num_heads)
    single = [theirs.part(0, 0, [head], theirs.logprob) for head in heads]
    np.testing.assert_allclose(ours.by_head[0], single, atol=1e-5, rtol=0)
    comparison = engine.compare(request)
    natural = [recording.logprobs[1] for recording in comparison.recordings]
    np.testing.assert_allclose(ours.outcomes[[0, 1], [0, 1], [0, 1]], natural, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "question",
    [KnockoutOptions((0,)), BlurOptions((0,)), ChanceOptions(), PartsOptions()],
    ids=lambda each: type(each).__name__,
)
def test_the_other_questions_are_of_one_image(folder, adapter, monkeypatch, question):
    engine = Engine(Settings(model=str(folder), device="cpu"), AdapterCatalog({"one": adapter}))
    monkeypatch.setattr(engine.passes, "vision", lambda *given: pytest.fail("the model ran"))
    with pytest.raises(SelectionError, match="a prompt with one image; this one has several") as refused:
        engine.explain(asked(adapters=(None, "one"), answer=ANSWER), question)
    assert "seeing, looking or saying" in refused.value.hint


def test_what_is_only_of_one_image_is_refused():
    with pytest.raises(InputError, match="are recorded of one image"):
        asked(views=("relative",))
    for given, hint in ((PICTURES[:3], "Send the others, too"), ([*PICTURES, PICTURES[0]], "write <image>")):
        with pytest.raises(PromptError, match=f"places for images: 4; images that came: {len(given)}") as refused:
            Request(given, LINE)
        assert hint in refused.value.hint
    with pytest.raises(InputError, match="4 images were sent; the limit is 3"):
        check_limits(asked(), Limits(max_images=3))
    with pytest.raises(InputError, match="There is no image"):
        Request([], "What?")


def test_a_record_beyond_the_operators_bound_is_refused_before_anything_runs(engine, folder, monkeypatch):
    request = asked(adapters=(None,))
    prompt = engine.prompt(request)
    recorder = engine.passes.recorder(prompt, [], request.max_new_tokens)
    held = sum(each.nbytes for each in (recorder.by_row, recorder.group_share, recorder.by_head))
    one_less, exact, two_less, two = (
        Engine(Settings(model=str(folder), device="cpu", limits=Limits(max_recorded_bytes=most)), AdapterCatalog({}))
        for most in (held - 1, held, 2 * held - 1, 2 * held)
    )
    assert exact.compare(request).recordings[0].answer
    for engine_, adapters in ((one_less, (None,)), (two_less, (None, "other"))):
        monkeypatch.setattr(engine_.passes, "vision", lambda *given: pytest.fail("the model ran"))
        told = rf"64 image tokens and 14 tokens after .* of {len(adapters)} variants; 0 MiB are allowed"
        with pytest.raises(InputError, match=told) as refused:
            engine_.compare(asked(adapters=adapters))
        assert "VISUALIZER_MAX_RECORDED_BYTES" in refused.value.hint
    with pytest.raises(UnknownAdapterError):
        two.compare(asked(adapters=(None, "other")))
