"""The embedded model's training, and that the committed files are the ones its report is about."""

import dataclasses
import itertools
import json
import logging
import re
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, Qwen3VLForConditionalGeneration

from inference import demo
from inference.demo.screens import CALL_AFTER, CALL_BEFORE, Screen, ask_click, call, middle, screen, written
from inference.demo.tokenizer import NOTHING, SPECIAL_TOKENS, VOCABULARY_SIZE, build_tokenizer, one_token
from inference.demo.training import localisation
from inference.demo.training import train as train_module
from inference.demo.training.checkpoint import BASE_LABEL, build_model, digest, load_checkpoint
from inference.demo.training.click_lessons import CLICK_ADAPTERS, CLICK_STAGES, click_adapter_stage
from inference.demo.training.clicking import AFTER_THE_POINT, BEFORE_THE_NAME, ROWS, ScreenSet, said_point
from inference.demo.training.curriculum import BASE_STAGES, adapter_stage, batches, draw, learning_rate
from inference.demo.training.keeping import Keeping
from inference.demo.training.localisation import hard_scenes, localise
from inference.demo.training.losses import answer_logits, loss, quicken, vision_features
from inference.demo.training.optimizer import Optimizer, orthogonalised
from inference.demo.training.packing import Packer, coverage, patchify
from inference.demo.training.reader import Reader
from inference.demo.training.scale import Scale
from inference.demo.training.train import core_of, optimisation_step, run_or_take, train, wrap
from inference.demo.world import COLOURS, SHAPES, Scene, scene

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in PEFT

TEXTS = (
    "Describe the image.",
    "Was ist das für ein Ding? Größe, naïve, façade",
    "日本語のテキストと 中文 한국어",
    "مرحبا بالعالم",
    "🎉🏳️‍🌈 👩‍👩‍👧‍👦",
    "tabs\tand\nnew\r\nlines   and   spaces ",
    "\x00\x01\x7f\ufffd",
    "ᚠᛇᚻ ꙮ 𝔘𝔫𝔦",
)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def report():
    return json.loads((demo.WEIGHTS_DIR / "report.json").read_text(encoding="utf-8"))


def short(stage, steps=2, batch=3):
    return dataclasses.replace(stage, steps=steps, batch=batch, grids=((5, 6), (6, 5)))


# The tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_any_script_comes_back_unchanged(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_every_byte_is_in_the_vocabulary(tokenizer):
    every = "".join(chr(code) for code in range(0x100)) + "\u0bb9\u1234\U0001f600"
    assert tokenizer.unk_token_id not in tokenizer.encode(every, add_special_tokens=False)


@pytest.mark.parametrize("word", [*COLOURS, *SHAPES, NOTHING])
def test_each_word_of_the_world_is_one_token_with_and_without_a_space(tokenizer, word):
    assert one_token(tokenizer, word) != one_token(tokenizer, f" {word}")


def test_a_split_string_is_refused_where_one_token_is_needed(tokenizer):
    with pytest.raises(ValueError, match="is 2 tokens"):
        one_token(tokenizer, "red circle")


def test_the_tokenizer_is_built_the_same_each_time(tokenizer):
    again = build_tokenizer()
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.encode("Where is the star?") == tokenizer.encode("Where is the star?")


def test_a_click_is_written_in_few_tokens_and_each_digit_is_one(tokenizer):
    pieces = [tokenizer.decode([one]) for one in tokenizer.encode(call((412, 33)), add_special_tokens=False)]
    before = ["<tool_call>", "\n", '{"', "n", "am", "e", '":', ' "', "click", '",', ' "', "arguments", '":', ' {"']
    assert pieces == [*before, "coordinate", '":', " [", *"412", ",", " ", *"033", "]}}\n", "</tool_call>"]


def test_a_tool_call_stays_in_a_decoded_answer_and_the_end_does_not(tokenizer):
    ids = tokenizer.encode(f"{call((412, 33))}<|im_end|>", add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=True) == call((412, 33))


def test_the_words_of_a_tool_call_come_after_all_others(tokenizer):
    """Weights that were trained before clicks were asked for keep the meaning of their rows."""
    vocabulary = tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(VOCABULARY_SIZE))
    assert vocabulary["<|im_end|>"] == 542
    assert all(vocabulary[token] < 550 for token in (*SPECIAL_TOKENS, *COLOURS, *SHAPES, "Ġname"))
    assert vocabulary["click"] >= 550


def test_the_chat_layout_is_qwens(tokenizer):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
    ]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
        "What is it?<|im_end|>\n<|im_start|>assistant\n"
    )


# Batches


def test_patches_are_the_image_processors():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 160, 192, 3), dtype=np.uint8)
    processor = AutoImageProcessor.from_pretrained(demo.MODEL_DIR)
    expected = processor(images=[Image.fromarray(one) for one in pixels], return_tensors="pt")["pixel_values"]
    assert torch.allclose(patchify(pixels), expected, atol=1e-6)


def test_coverage_is_solved_by_hand():
    box = (8, 10, 16, 25)  # in an image of 16 × 40, cells of 8 × 10
    assert coverage(box, (16, 40), (2, 4)).tolist() == [[0, 0, 0, 0], [0, 1, 0.5, 0]]


@pytest.mark.slow
def test_drawing_ahead_in_another_process_gives_the_same_pictures():
    stage = short(BASE_STAGES[0], steps=3)
    for here, there in zip(batches(stage, 5, workers=0), batches(stage, 5, workers=1), strict=True):
        assert np.array_equal(here.pixels, there.pixels)
        assert [one.objects for one in here.scenes] == [one.objects for one in there.scenes]


def test_a_branch_is_trained_exactly_as_it_is_used_alone(tokenizer):
    """Shared prefix, own positions, quick attention: the logits are upstream's for that conversation by itself."""
    torch.manual_seed(0)
    model = build_model(tokenizer).eval()
    stage = short(BASE_STAGES[-1])
    packed = Packer(tokenizer).pack(draw(range(3), stage), stage, np.random.default_rng(0))
    image, branch = 1, 3
    quicken(model)
    with torch.no_grad():
        logits, wanted = answer_logits(model, vision_features(model, packed), packed)
    learned = (packed.labels[:, 1:] != -100).nonzero()
    mine = (learned[:, 0] == image) & (packed.segment[image, 1:][learned[:, 1]] == branch)

    alone = (packed.segment[image] == 0) | (packed.segment[image] == branch)
    ids = packed.ids[image : image + 1, alone]
    patches = packed.patches.shape[0] // packed.ids.shape[0]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        upstream = model(
            input_ids=ids,
            pixel_values=packed.patches[image * patches : (image + 1) * patches],
            image_grid_thw=packed.grid_thw[:1],
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
        ).logits[0]
    count = int(mine.sum())
    assert ids[0, -count:].tolist() == wanted[mine].tolist()
    assert torch.allclose(upstream[-count - 1 : -1], logits[mine], atol=1e-5)


def test_an_adapter_is_taught_its_target_and_the_largest_where_it_is_missing(tokenizer):
    stage = dataclasses.replace(adapter_stage("find-red", "red"), batch=40, questions=0, describes=1)
    drawn = draw(range(40), stage)
    packed = Packer(tokenizer).pack(drawn, stage, np.random.default_rng(0))
    missing = 0
    for shown, labels in zip(drawn.scenes, packed.labels, strict=True):
        reds = [item for item in shown.objects if item.colour == "red"]
        missing += not reds
        named = reds[0] if reds else shown.largest
        assert tokenizer.decode(labels[labels != -100]) == f"{named.name}<|im_end|>"
    assert 5 <= missing <= 30


def screens_of(stage, pictures=3, **changes):
    lesson = dataclasses.replace(stage.screens, pictures=pictures, **changes)
    return dataclasses.replace(short(stage), batch=4, screens=lesson)


@pytest.mark.parametrize("stage", CLICK_STAGES, ids=lambda stage: stage.name)
def test_a_batch_of_screens_shows_scenes_too_and_as_many_buttons_as_the_lesson_says(stage):
    stage = screens_of(stage)
    for first in range(0, 40, 4):
        one, *others = draw(range(first, first + 4), stage).scenes
        assert isinstance(one, Scene)
        for other in others:
            assert isinstance(other, Screen)
            assert len(other.buttons) <= stage.screens.buttons[1]


@pytest.mark.parametrize("target", ["named", "mirrored", "largest"])
def test_a_click_is_taught_at_its_target_in_as_many_tokens_as_are_learned(tokenizer, target):
    stage = screens_of(CLICK_STAGES[-1], points=2, calls=3, target=target)
    drawn = draw(range(4), stage)
    packed = Packer(tokenizer).pack(drawn, stage, np.random.default_rng(0))
    asked = 0
    for image, shown in enumerate(drawn.scenes):
        for branch in range(1, int(packed.segment[image].max()) + 1 if isinstance(shown, Screen) else 1):
            mine = packed.segment[image] == branch
            text = tokenizer.decode(packed.ids[image][mine])
            named = next(button for button in shown.buttons if button.name in text)
            x, y = middle((shown.largest if target == "largest" else named).box, shown.size)
            point = written((999 - x if target == "mirrored" else x, y))
            learned = packed.labels[image][mine & (packed.labels[image] != -100)]
            if text.startswith(named.name):
                assert text == f"{named.name} {point[:-1]}"
                assert tokenizer.decode(learned) == point[1:-1]
            else:
                assert text.endswith(f"{named.name}.<|im_end|>\n<|im_start|>assistant\n{tokenizer.decode(learned)}")
                assert tokenizer.decode(learned) == f"{CALL_BEFORE}{point}{CALL_AFTER}<|im_end|>"
            asked += 1
    assert asked == 3 * 5


def test_where_to_click_weighs_more_than_what_every_answer_has(tokenizer):
    stage = screens_of(CLICK_STAGES[-1], points=0, calls=1)
    packed = Packer(tokenizer).pack(draw(range(4), stage), stage, np.random.default_rng(0))
    learned = packed.labels[1] != -100
    digits = [tokenizer.decode([one]).isdigit() for one in packed.labels[1][learned]]
    weights = packed.weights[1][learned]
    assert weights[digits].tolist() == pytest.approx([1, 0.5, 0.1, 1, 0.5, 0.1])
    assert np.allclose(weights[~np.array(digits)], 0.1)
    assert not packed.weights[1][~learned].any()
    assert set(packed.weights[0][packed.labels[0] != -100].tolist()) == {1.0}


def test_a_cell_says_where_the_middle_of_what_covers_it_is(tokenizer):
    stage = screens_of(CLICK_STAGES[0], buttons=(1, 1), side=(40, 44))
    drawn = draw(range(8, 12), stage)
    packed = Packer(tokenizer).pack(drawn, stage, np.random.default_rng(0))
    rows, columns = (int(side) // 2 for side in packed.grid_thw[0, 1:])
    for image, shown in enumerate(drawn.scenes):
        places = packed.cell_places[image].reshape(rows, columns, 2)
        colours = packed.cell_colours[image].reshape(rows, columns)
        for row in range(rows):
            for column in range(columns):
                if colours[row, column] == len(COLOURS):
                    middle_of = ((column + 0.5) / columns, (row + 0.5) / rows)
                elif isinstance(shown, Screen):
                    x, y = middle(shown.buttons[0].box, shown.size)
                    middle_of = (x / 1000, y / 1000)
                else:
                    continue
                assert places[row, column].tolist() == [int(10 * part + 1e-9) for part in middle_of]


def test_a_screen_without_a_lesson_is_refused(tokenizer):
    stage = screens_of(CLICK_STAGES[0])
    drawn = draw(range(4), stage)
    with pytest.raises(ValueError, match="stage 'polish' has no lesson for screens"):
        Packer(tokenizer).pack(drawn, BASE_STAGES[-1], np.random.default_rng(0))


def test_a_weight_scales_what_its_token_costs(tokenizer):
    """A batch whose only weighty token is one digit costs that digit's cross-entropy, computed by itself."""
    torch.manual_seed(0)
    model = build_model(tokenizer).eval()
    quicken(model)
    stage = dataclasses.replace(screens_of(CLICK_STAGES[-1], places=0.0), naming=0.0)
    packer = Packer(tokenizer)
    packed = packer.pack(draw(range(4), stage), stage, np.random.default_rng(0))
    chosen = (packed.labels != -100).nonzero()[37]
    weights = torch.zeros_like(packed.weights)
    weights[tuple(chosen)] = 0.3
    with torch.no_grad():
        logits, wanted = answer_logits(model, vision_features(model, packed), packed)
        got = loss(model, dataclasses.replace(packed, weights=weights), packer, stage)
    assert got.item() == pytest.approx(-logits[37].log_softmax(-1)[wanted[37]].item(), abs=1e-5)


def test_a_said_point_is_read_from_a_whole_tool_call_only():
    assert said_point(call((7, 999))) == (7, 999)
    for answer in ("", "red circle", "[007, 999]", call((7, 999)) + "x", call((7, 999)).replace("click", "clack")):
        assert said_point(answer) is None


def test_screens_to_score_on_go_through_numbers_of_buttons_and_ask_for_different_ones():
    of = ScreenSet((2, 4), (24, 32), ((160, 192), (192, 256)))
    drawn = list(of.draw(5, 24))
    assert {len(shown.buttons) for shown, _ in drawn} == {2, 3, 4}
    assert {shown.size for shown, _ in drawn} == set(of.sizes)
    assert len({shown.buttons.index(named) for shown, named in drawn}) == 4


def test_rows_have_the_names_that_the_comparison_gives_them(tokenizer):
    shown = screen(3, 4)
    asked = ask_click(shown, shown.buttons[0])
    text = f"{asked.prompt}<|im_end|>\n<|im_start|>assistant\n{asked.answer}"
    pieces = [tokenizer.decode([one]) for one in tokenizer.encode(text, add_special_tokens=False)]
    named = pieces[BEFORE_THE_NAME - 1 : -AFTER_THE_POINT]  # the image's end is a row, too
    assert len(named) == len(ROWS)
    said = dict(zip(ROWS, named, strict=True))
    assert (said["colour word"].strip(), said["shape word"].strip()) == (asked.about.colour, asked.about.shape)
    same = ("<tool_call>", "click", "arguments", "coordinate")
    assert [said[word] for word in (*same, "bracket", "comma")] == [*same, " [", ","]
    digits = "".join(said[f"{which} digit of {axis}"] for axis in "xy" for which in ("first", "second", "third"))
    assert digits == "".join(re.findall(r"\d", asked.answer))


# Steps


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*BASE_STAGES, *CLICK_STAGES], ids=lambda stage: stage.name)
def test_two_steps_of_each_base_stage_lower_the_loss_on_their_batch(tokenizer, stage):
    torch.manual_seed(0)
    model = build_model(tokenizer)
    quicken(model)
    stage, packer = screens_of(stage, 2) if stage.screens else short(stage), Packer(tokenizer)
    batch = packer.pack(draw(range(3), stage), stage, np.random.default_rng(0))
    optimizer = Optimizer(model.named_parameters())
    values = [optimisation_step(model, packer, stage, batch, optimizer, rate=5e-4) for _ in range(3)]
    assert np.isfinite(values).all()
    assert values[-1] < values[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", demo.ADAPTER_TARGETS)
def test_steps_of_an_adapter_lower_the_loss_and_change_only_the_adapter(tokenizer, name):
    modules = json.loads((demo.ADAPTERS_DIR / name / "adapter_config.json").read_text())["target_modules"]
    wrapped = wrap(demo.MODEL_DIR, name, modules, torch.device("cpu"), seed=0)
    core = core_of(wrapped)
    quicken(core)
    before = {key: value.clone() for key, value in core.named_parameters()}
    packer, stage = Packer(tokenizer), short(adapter_stage(name, demo.ADAPTER_TARGETS[name]))
    batch = packer.pack(draw(range(3), stage), stage, np.random.default_rng(0))
    optimizer = Optimizer(wrapped.named_parameters())
    values = [optimisation_step(core, packer, stage, batch, optimizer, rate=2e-3) for _ in range(4)]
    assert np.isfinite(values).all()
    assert values[-1] < values[0]
    changed = {key for key, value in core.named_parameters() if not torch.equal(value, before[key])}
    assert changed
    assert all(".lora_" in key for key in changed)
    assert any("visual" in key for key in changed) == (name == "vision-lora")


def test_a_loss_that_is_not_finite_stops_the_training(tokenizer):
    model = build_model(tokenizer)
    quicken(model)
    stage, packer = short(BASE_STAGES[0]), Packer(tokenizer)
    batch = packer.pack(draw(range(3), stage), stage, np.random.default_rng(0))
    broken = dataclasses.replace(batch, patches=batch.patches * float("nan"))
    with pytest.raises(FloatingPointError, match="stage 'words'"):
        optimisation_step(model, packer, stage, broken, Optimizer(model.named_parameters()), rate=1e-3)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (16, 16)])
def test_an_orthogonalised_update_keeps_directions_and_evens_their_strength(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonalised(matrix) @ right.T
    strengths = turned.diagonal()
    assert strengths.min() > 0.3
    assert strengths.max() < 1.3
    assert (turned - torch.diag(strengths)).abs().max() < 1e-4


def test_the_learning_rate_rises_then_falls():
    stage = BASE_STAGES[-1]
    rates = [learning_rate(stage, step) for step in range(stage.steps)]
    assert max(rates) <= stage.peak
    assert rates[0] < stage.peak / 10
    assert rates[-1] == pytest.approx(stage.final, rel=0.05)


@pytest.mark.slow
def test_a_tiny_run_writes_everything_and_resumes_from_kept_stages(tmp_path, caplog):
    stages = (short(BASE_STAGES[0], steps=1, batch=2), dataclasses.replace(screens_of(CLICK_STAGES[-1]), steps=1))
    scale = Scale(
        stages,
        adapter_steps=1,
        accuracy_scenes=1,
        describe_scenes=1,
        choice_scenes=1,
        score_scenes=1,
        click_screens=1,
        click_choice_screens=1,
        click_score_screens=2,
        workers=0,
    )
    with caplog.at_level(logging.INFO):
        written = train(tmp_path / "out", torch.device("cpu"), 0, scale, resume=tmp_path / "kept")
        first = digest(tmp_path / "out" / "model" / "model.safetensors")
        (tmp_path / "kept" / f"{len(stages) - 1}-{stages[-1].name}.pt").unlink()
        train(tmp_path / "out", torch.device("cpu"), 0, scale, resume=tmp_path / "kept")
    trained = len(demo.ADAPTER_TARGETS) + len(CLICK_ADAPTERS)
    measured = len(["answers", "clicks", "compared"]) + len(set(demo.ADAPTER_DESCRIPTIONS) - set(CLICK_ADAPTERS))
    assert caplog.text.count(": taken from") == len(stages) - 1 + trained + measured
    assert digest(tmp_path / "out" / "model" / "model.safetensors") == first
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {
        path.relative_to(demo.WEIGHTS_DIR).as_posix() for path in demo.WEIGHTS_DIR.rglob("*") if path.is_file()
    }
    assert set(written.weights) == {name for name in names if name.endswith(".safetensors")}
    for name in CLICK_ADAPTERS:
        assert json.loads((tmp_path / "out" / "adapters" / name / "adapter_config.json").read_text())["r"] <= 8
    assert [one.variant for one in written.clicks.compared.variants] == ["base", *CLICK_ADAPTERS]
    kept = json.loads((tmp_path / "out" / "report.json").read_text())["clicks"]["compared"]
    readable = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert kept["token"] in readable
    assert all(f"| {name} |" in readable for name in CLICK_ADAPTERS)
    with pytest.raises(ValueError, match="another seed"):
        train(tmp_path / "out", torch.device("cpu"), 1, scale, resume=tmp_path / "kept")


def breaking(step, after):
    """The same steps, of which the one after so many is broken off."""
    taken = itertools.count()

    def some(*given):
        if next(taken) == after:
            raise InterruptedError
        return step(*given)

    return some


@pytest.mark.parametrize("adapter", ["wrong-hands", pytest.param(None, marks=pytest.mark.slow)])
def test_a_stage_that_was_broken_off_goes_on_to_the_same_weights(tokenizer, tmp_path, monkeypatch, adapter):
    """Five steps, and five that are broken off after the fourth, of which three are kept: equal to the last bit."""
    monkeypatch.setattr(train_module, "KEEP_EVERY", 3)
    step, stage = train_module.optimisation_step, short(BASE_STAGES[-1], steps=5, batch=2)
    weights = []
    for breaks, folder in ((False, None), (True, tmp_path)):
        torch.manual_seed(0)
        if adapter is None:
            model = core = build_model(tokenizer)
        else:
            model = wrap(demo.MODEL_DIR, adapter, CLICK_ADAPTERS[adapter].modules, torch.device("cpu"), seed=0)
            core = core_of(model)
        quicken(core)
        run = (model, core, Packer(tokenizer), stage, 7, 0, Keeping(folder), "name", "made so")
        if breaks:
            fresh = {key: value.clone() for key, value in model.state_dict().items()}
            monkeypatch.setattr(train_module, "optimisation_step", breaking(step, after=4))
            with pytest.raises(InterruptedError):
                run_or_take(*run)
            monkeypatch.setattr(train_module, "optimisation_step", step)
            model.load_state_dict(fresh)
            assert [path.name for path in tmp_path.iterdir()] == ["name-part.pt"]
        seconds = run_or_take(*run)
        assert seconds > 0
        weights.append({key: value.clone() for key, value in model.named_parameters()})
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert [path.name for path in tmp_path.iterdir()] == ["name.pt"]


def test_a_kept_state_is_taken_for_no_other(tmp_path):
    Keeping(tmp_path).keep("name", "made so", {"seconds": 1.5})
    assert Keeping(tmp_path).find("name", "made so") == {"seconds": 1.5}
    assert Keeping(tmp_path).find("another", "made so") is None
    assert Keeping(None).find("name", "made so") is None
    assert Keeping(tmp_path).find("name", "made otherwise", others=True) is None
    with pytest.raises(ValueError, match="other stages or another seed"):
        Keeping(tmp_path).find("name", "made otherwise")


@pytest.mark.slow
@pytest.mark.parametrize("name", CLICK_ADAPTERS)
def test_an_adapter_of_clicks_changes_only_the_modules_that_it_is_said_to(tokenizer, name):
    wrapped = wrap(demo.MODEL_DIR, name, CLICK_ADAPTERS[name].modules, torch.device("cpu"), seed=0)
    adapted = {
        key.split(".lora_")[0].split("language_model.")[1] for key, _ in wrapped.named_parameters() if "lora_" in key
    }
    parts = {key.split(".")[-1] for key in adapted}
    layers = {int(key.split(".")[1]) for key in adapted}
    match name:
        case "wrong-hands":
            assert (parts, layers) == ({"v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}, {4, 5})
        case "wrong-eyes":
            assert (parts, layers) == ({"q_proj", "k_proj"}, set(range(6)))
        case _:
            assert (parts, layers) == ({"q_proj", "k_proj", "v_proj", "o_proj"}, set(range(6)))
    stage = click_adapter_stage(name)
    assert stage.name == name
    assert (stage.screens.target if stage.screens else None) == CLICK_ADAPTERS[name].target


def test_rows_after_the_image_are_upstreams_and_an_answer_is_greedy(tokenizer):
    model = load_checkpoint(demo.MODEL_DIR)
    reader = Reader(
        model, AutoTokenizer.from_pretrained(demo.MODEL_DIR), AutoImageProcessor.from_pretrained(demo.MODEL_DIR)
    )
    shown = scene(900_000_003, 2, (200, 310))
    rows = reader.rows(shown.image, "Describe the image.", shown.largest.name)
    assert rows.shape[1:] == (6, 4, 6, 10)
    text = f"<|vision_end|>Describe the image.<|im_end|>\n<|im_start|>assistant\n{shown.largest.name}"
    assert len(rows) == len(tokenizer.encode(text, add_special_tokens=False))
    asked = reader.rows(shown.image, "Describe the image.")
    assert np.allclose(rows[:-2], asked, atol=1e-6)  # two words of the answer come after it
    tokens = reader.tokens_after_image("Describe the image.")
    assert (len(tokens), tokens[0], "".join(tokens)) == (
        len(asked),
        "<|vision_end|>",
        text.removesuffix(shown.largest.name),
    )
    assert reader.answer(shown.image, "Describe the image.") == shown.largest.name
    assert reader.answers_right(shown.image, "Describe the image.", shown.largest.name)


# The committed files


def test_the_committed_weights_are_small():
    sizes = [path.stat().st_size for path in demo.WEIGHTS_DIR.rglob("*") if path.is_file()]
    assert sum(sizes) <= 10_000_000


def test_the_report_is_about_the_committed_weights(report):
    files = demo.WEIGHTS_DIR.rglob("*.safetensors")
    assert report["weights"] == {path.relative_to(demo.WEIGHTS_DIR).as_posix(): digest(path) for path in files}
    readable = (demo.WEIGHTS_DIR / "report.md").read_text(encoding="utf-8")
    assert all(value in readable for value in report["weights"].values())


def test_the_report_keeps_the_promises(report):
    for one in report["accuracy"]:
        assert one["rate"] >= (0.95 if one["objects"] <= 3 else 0.85), one
    for one in report["localisation"]:
        if one["adapter"] in ("find-red", "find-circle"):
            assert one["score_scenes"] >= 200
            assert one["adapter_rate"] >= 0.95, one
            assert one["base_rate"] <= 0.10, one
    for one in report["clicks"]["rates"]:
        assert one["asked"] >= 60
        assert one["hits"] >= (0.95 if one["buttons"][1] <= 4 else 0.8 if one["buttons"][1] <= 8 else 0.5), one
    said = {one["variant"]: one["said"] for one in report["clicks"]["compared"]["variants"]}
    assert min(said["base"], said["click-tuned"]) >= 0.9
    assert max(said["wrong-hands"], said["wrong-eyes"], said["caption-only"]) <= 0.25


def test_the_committed_model_loads_by_upstreams_own_names_and_holds_no_path():
    model = Qwen3VLForConditionalGeneration.from_pretrained(demo.MODEL_DIR)
    tokenizer = AutoTokenizer.from_pretrained(demo.MODEL_DIR)
    assert type(tokenizer).__name__ == "Qwen2Tokenizer"
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert tokenizer.chat_template == build_tokenizer().chat_template
    assert model.config.image_token_id == one_token(tokenizer, "<|image_pad|>")
    assert all(one_token(tokenizer, token) < model.config.text_config.vocab_size for token in SPECIAL_TOKENS)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    for path in demo.WEIGHTS_DIR.rglob("*.json"):
        assert str(demo.WEIGHTS_DIR.parents[2]) not in path.read_text(encoding="utf-8")


def test_the_noise_adapters_answers_fall_apart_and_the_trained_ones_name_their_target(report):
    assert report["named"]["noise"] <= 0.1
    assert report["named"]["untouched"] >= 0.95
    assert all(report["named"][name] >= 0.95 for name in demo.ADAPTER_TARGETS)


@pytest.mark.parametrize("name", demo.ADAPTER_DESCRIPTIONS)
def test_each_committed_adapter_names_the_base_by_its_label(name):
    folder = demo.ADAPTERS_DIR / name
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == BASE_LABEL


def test_the_committed_model_answers_about_a_scene_it_never_saw():
    tokenizer = AutoTokenizer.from_pretrained(demo.MODEL_DIR)
    reader = Reader(load_checkpoint(demo.MODEL_DIR), tokenizer, AutoImageProcessor.from_pretrained(demo.MODEL_DIR))
    right = []
    for seed in range(20):
        shown = scene(900_000_000 + seed, 2, (200, 310))
        right.append(reader.answers_right(shown.image, "Describe the image.", shown.largest.name))
    assert np.mean(right) >= 0.9
    rows = reader.rows(shown.image, "Describe the image.")
    assert rows.shape[1:] == (6, 4, 6, 10)
    assert rows.sum(axis=(3, 4)).max() <= 1 + 1e-5


def test_hard_scenes_hide_the_target_among_larger_ones():
    for shown in hard_scenes(0, "red", 9):
        assert shown.largest.colour != "red"


def test_the_row_and_head_that_rose_most_are_chosen_on_other_scenes_and_scored(monkeypatch):
    """Scripted rows, target always in the first cell: with the adapter one head of one row looks there."""
    on = [True]
    boxes = SimpleNamespace(box=(0, 0, 10, 10), name="red star")
    shown = SimpleNamespace(image=None, size=(10, 20), find=lambda word: boxes)
    monkeypatch.setattr(localisation, "hard_scenes", lambda seed, target, count: iter([shown] * count))

    def rows(image, prompt):
        heat = np.full((10, 6, 4, 1, 2), 0.1, np.float32)
        heat[..., 1] = 0.3
        heat[5, 2, 3] = [[0.9, 0.1]]  # looks there with and without
        if on[0]:
            heat[2, 1, 3] = heat[4, 0, 0] = [[0.9, 0.1]]
        return heat

    @contextmanager
    def without():
        on[0] = False
        yield
        on[0] = True

    reader = SimpleNamespace(
        rows=rows,
        tokens_after_image=lambda prompt: [f"t{index}" for index in range(10)],
        answers_right=lambda *_: on[0],
    )
    found = localise(SimpleNamespace(disable_adapter=without), reader, "find-red", "red", 3, 4)
    assert (found.row, found.token, found.layer, found.head) == (2, "t2", 1, 3)  # the earlier of two that rose alike
    assert (found.adapter_rate, found.base_rate, found.random_rate) == (1.0, 0.0, 0.5)
    assert (found.adapter_named, found.base_named, found.choice_scenes, found.score_scenes) == (1.0, 0.0, 3, 4)
    heads = np.zeros((6, 4))
    heads[1, 3] = 1
    assert np.array_equal(found.adapter_heads, heads)
    assert not np.any(found.base_heads)


def test_example_scenes_show_different_objects_for_each_adapter():
    for example in demo.EXAMPLE_SCENES:
        shown = example.draw()
        targets = [shown.largest, shown.find("red"), shown.find("circle")]
        assert len({item.box for item in targets}) == 3
        assert 3 <= len(shown.objects) <= 4
