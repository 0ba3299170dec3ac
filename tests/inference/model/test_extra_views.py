"""Views beside attention: against full autograd through upstream, its own passes, and TAM's formulas by scipy."""

import sys

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from inference.adapters.catalog import AdapterCatalog
from inference.errors import InputError, SelectionError
from inference.model.cache import PrefixCache
from inference.model.engine import GENERAL, Engine
from inference.model.extra_views import without_context
from inference.settings import Settings
from tests import upstream
from tests.inference.model.placed import ANSWER, GRID, IMAGE, PROMPT, ask

KINDS = ["dense", pytest.param("moe", marks=pytest.mark.slow), pytest.param("gqa", marks=pytest.mark.slow)]
ALL = ("relative", "gradient", "named")


@pytest.fixture(params=KINDS)
def model(request, placed):
    return placed(request.param)


@pytest.fixture(params=["eager", "rows"])
def engine(request, model):
    return model.engine(request.param)


def kept_prefixes(engine) -> list[PrefixCache]:
    keys = [key for key in engine.cache if key.ids and not key.new_tokens]
    found = [engine.cache.get(key, PrefixCache) for key in keys]
    assert found
    return [each for each in found if each is not None]


def load(model, adapter):
    if adapter is None:
        return upstream.load(model.checkpoint)
    return upstream.load_with_adapter(model.checkpoint, model.folders[adapter], torch.float32)


def autograd(model, adapter, prompt, index: int) -> np.ndarray:
    """Weight × gradient of the last row, from one full upstream pass with gradients through all of it."""
    loaded = load(model, adapter)
    modeling, kept = sys.modules[type(loaded).__module__], {}
    own = modeling.eager_attention_forward

    def watched(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
        _, weights = own(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs)
        if hasattr(module, "layer_idx"):
            weights = weights if weights.requires_grad else weights.detach().requires_grad_()
            weights.retain_grad()
            kept[module.layer_idx] = weights
        values = modeling.repeat_kv(value, module.num_key_value_groups)
        return torch.matmul(weights, values).transpose(1, 2).contiguous(), weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling, "eager_attention_forward", watched)
        output = loaded(**upstream.inputs(prompt, ANSWER[:index]), use_cache=False)
        output.logits[0, -1, ANSWER[index]].backward()
    image = slice(prompt.image_start, prompt.image_end)
    products = [(kept[layer].detach() * kept[layer].grad)[0, :, -1, image] for layer in sorted(kept)]
    return torch.stack(products).numpy().reshape(len(products), -1, *GRID)


@pytest.mark.parametrize("index", [0, 2])
def test_the_gradient_is_full_autograds_through_upstream(index, model, engine):
    prompt = upstream.build_prompt(model.checkpoint, IMAGE, PROMPT)
    token = len(prompt.tokens) + index
    found = engine.compare(ask(None, "language", focus=(token,), views=("gradient",)))
    for recording in found.recordings:
        expected = np.maximum(autograd(model, recording.adapter, prompt, index), 0)
        assert expected.max() > 1e-3
        np.testing.assert_allclose(recording.gradient, expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_in_half_precision_the_views_are_those_of_float32_up_to_rounding(dtype, bound, placed):
    """Relative to the largest value; 0.026 and 0.0043 were seen."""
    model = placed("dense")
    exact, half = (
        Engine(Settings(model=str(model.checkpoint), device="cpu", dtype=each, attention="eager"), AdapterCatalog({}))
        .compare(ask(None, views=ALL))
        .recordings[0]
        for each in ("float32", dtype)
    )
    for name in ("general", "gradient", "named"):
        one, other = getattr(exact, name), getattr(half, name)
        assert np.abs(one - other).max() <= bound * one.max(), (name, np.abs(one - other).max() / one.max())


def test_of_several_tokens_it_is_the_mean_of_their_positive_parts(placed):
    engine = placed("dense").engine("eager")
    first = len(engine.prompt(ask(None)).tokens)
    both = engine.compare(ask(None, focus=(first, first + 1), views=("gradient", "named"))).recordings[0]
    each = [engine.compare(ask(None, focus=(first + at,), views=("gradient", "named"))).recordings[0] for at in (0, 1)]
    for name in ("gradient", "named", "named_alone"):
        mean = np.mean([getattr(one, name) for one in each], axis=0)
        np.testing.assert_allclose(getattr(both, name), mean, atol=1e-6)


def test_the_general_prompts_row_is_upstreams(model, engine):
    prompt = upstream.build_prompt(model.checkpoint, IMAGE, GENERAL)
    found = engine.compare(ask(None, "language", views=("relative",)))
    for recording in found.recordings:
        rows = upstream.attentions(load(model, recording.adapter), prompt)
        expected = rows[:, :, -1, prompt.image_start : prompt.image_end].reshape(*rows.shape[:2], *GRID)
        np.testing.assert_allclose(recording.general, expected, atol=1e-5)


def test_what_cells_say_is_tams_formula_on_upstreams_logits(model, engine):
    prompt = upstream.build_prompt(model.checkpoint, IMAGE, PROMPT)
    index = 2
    token = len(prompt.tokens) + index
    found = engine.compare(ask(None, "language", focus=(token,), views=("named",)))
    for recording in found.recordings:
        with torch.no_grad():
            output = load(model, recording.adapter)(**upstream.inputs(prompt, ANSWER[:-1]), use_cache=False)
        logits = output.logits[0].double().clamp(min=0).numpy()
        ids = [each.id for each in recording.tokens]
        image = slice(prompt.image_start, prompt.image_end)
        maps = [logits[image, each] for each in ids]
        np.testing.assert_allclose(recording.named.ravel(), maps[token], atol=2e-4)
        earlier = [at for at in range(token) if recording.tokens[at].text != recording.tokens[token].text]
        weights = np.array([logits[recording.tokens[at].query, ids[token]] for at in earlier])
        if not weights.sum():
            expected = maps[token]  # no earlier word speaks for it
            np.testing.assert_allclose(recording.named_alone.ravel(), expected, atol=5e-4)
            continue
        interference = sum(weight * maps[at] for weight, at in zip(weights / weights.sum(), earlier, strict=True))
        scale = minimize_scalar(lambda x, m=maps[token], i=interference: np.sum((m - i * x) ** 2)).x
        expected = np.maximum(maps[token] - scale * interference, 0)
        np.testing.assert_allclose(recording.named_alone.ravel(), expected, atol=5e-4)
        assert recording.named.max() > 0


def test_without_earlier_words_nothing_is_taken_off():
    own = np.array([1.0, 2.0, 0.0])
    assert np.array_equal(without_context(own, np.zeros((0, 3)), np.zeros(0)), own)
    assert np.array_equal(without_context(own, np.ones((1, 3)), np.zeros(1)), own)
    np.testing.assert_allclose(without_context(own, np.array([[2.0, 4.0, 0.0]]), np.ones(1)), 0, atol=1e-12)


def test_attention_is_the_same_bit_for_bit_and_no_gradient_stays(engine):
    plain, more = engine.compare(ask(None, "language")), engine.compare(ask(None, "language", views=ALL))
    again = engine.compare(ask(None, "language"))
    for one, other, third in zip(plain.recordings, more.recordings, again.recordings, strict=True):
        for name in ("by_head", "by_token", "logprobs", "group_share"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
            assert np.array_equal(getattr(one, name), getattr(third, name)), name
        assert {one.general is None, one.gradient is None, one.named is None, one.named_alone is None} == {True}
    assert all(parameter.grad is None for parameter in engine.checkpoint.model.parameters())
    assert not any(layer.keys.requires_grad for each in kept_prefixes(engine) for layer in each.cache.layers)


def test_the_gradient_is_of_the_answers_tokens_only(placed):
    with pytest.raises(SelectionError, match="of the answer's tokens"):
        placed("dense").engine("eager").compare(ask(None, focus=(0,), views=("gradient",)))


def test_a_view_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="views may hold"):
        ask(None, views=("raw",))
    assert ask(None, views=("named", "relative", "named")).views == ("relative", "named")
