"""The command line: flags over environment over defaults, one line per error, one line per flag."""

from dataclasses import fields

import pytest

from inference.command_line import parse, settings_from
from inference.errors import InputError
from inference.named_adapters import named_adapters
from inference.settings import Limits, Settings, environment_variable

FLAGS = [each for owner in (Settings, Limits) for each in fields(owner) if each.metadata.get("flag")]


def test_nothing_given_is_the_embedded_model_on_this_machine():
    settings = parse([], {})
    assert settings == Settings()
    assert (settings.base_model, settings.host, settings.port) == ("demo", "127.0.0.1", 7860)


def test_a_flag_wins_over_the_environment_and_that_over_the_default():
    environ = {"VISUALIZER_PORT": "9000", "VISUALIZER_MODEL": "Qwen/Qwen3-VL-2B-Instruct", "VISUALIZER_SHARE": "true"}
    settings = parse(["--port", "9001", "--no-share"], environ)
    assert (settings.port, settings.model, settings.share) == (9001, "Qwen/Qwen3-VL-2B-Instruct", False)


def test_limits_have_flags_too_and_keep_what_the_environment_says_of_others():
    settings = parse(["--max-image-tokens", "99"], {"VISUALIZER_MAX_NEW_TOKENS": "7"})
    assert (settings.limits.max_image_tokens, settings.limits.max_new_tokens) == (99, 7)


def test_adapters_are_repeatable_and_named():
    settings = parse(["--adapter", "a=some/where", "--adapter", "b=someone/something=1"], {})
    assert named_adapters(settings.adapter) == {"a": "some/where", "b": "someone/something=1"}


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["--port", "many"], {}, "--port"),
        (["--port", "70000"], {}, "0–65535"),
        (["--backend", "cloud"], {}, "cloud"),
        (["--attention", "flash"], {}, "flash"),
        (["--auth", "nobody"], {}, "USER:PASSWORD"),
        (["--adapter", "folder"], {}, "NAME=FOLDER_OR_HUB_ID"),
        (["--adapter", "base=folder"], {}, "reserved"),
        (["--adapter", "a=x", "--adapter", "a=y"], {}, "twice"),
        (["--max-image-tokens", "0"], {}, "positive"),
        (["--colour", "red"], {}, "--colour"),
        ([], {"VISUALIZER_RESULT_CACHE_BYTES": "0"}, "result_cache_bytes must be 1 or more"),
        (["--adapters-dir", "/nope"], {}, "--adapters-dir: there is no folder '/nope'"),
        (["--model", "/nope"], {}, "--model: there is no folder '/nope'"),
        (["--model", "./nope"], {}, "no folder"),
        (["--dtype", "foo"], {}, "foo"),
        ([], {"VISUALIZER_DTYPE": "foo"}, "auto, float32, bfloat16, float16; not 'foo'"),
        (["--device", "meta"], {}, "auto, cpu, cuda or cuda:N; not 'meta'"),
        (["--device", "cuda:x"], {}, "cuda:N"),
        ([], {"VISUALIZER_PORT": "many"}, "VISUALIZER_PORT"),
        ([], {"VISUALIZER_SHARE": "perhaps"}, "VISUALIZER_SHARE"),
    ],
)
def test_an_error_is_one_clear_line_and_code_2(arguments, environ, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(arguments, environ)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("app.py: error: ")
    assert words in said


def test_help_explains_every_flag_in_one_line_with_its_variable(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(["--help"], {})
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for each in FLAGS:
        flag = "--" + each.name.replace("_", "-")
        about = [line for line in lines if line.strip().startswith((flag + " ", flag + ","))]
        assert len(about) == 1, flag
        assert environment_variable(each.name) in about[0]
        assert each.metadata["help"] in about[0]


def test_the_password_is_never_shown(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"], {"VISUALIZER_AUTH": "me:secret-word"})
    assert "secret-word" not in capsys.readouterr().out


def test_an_adapter_without_a_source_is_refused():
    with pytest.raises(InputError, match="NAME=FOLDER_OR_HUB_ID"):
        named_adapters(("name=",))


def test_an_adapters_folder_that_is_not_there_is_refused_at_the_start(tmp_path):
    for source in (str(tmp_path / "gone"), "./gone", "~"):  # nobody expands a ~ behind NAME=
        with pytest.raises(InputError, match="no folder"):
            settings_from({"adapter": [f"mine={source}"]}, {})
    (tmp_path / "there").mkdir()
    for source in (str(tmp_path / "there"), "someone/an-id"):
        assert settings_from({"adapter": [f"mine={source}"]}, {}).adapter == (f"mine={source}",)


def test_devices_and_models_that_may_be_there_are_taken(tmp_path):
    for device in ("auto", "cpu", "cuda", "cuda:0", "cuda:15"):
        assert parse(["--device", device], {}).device == device
    for model in (str(tmp_path), "demo", "someone/an-id"):
        assert parse(["--model", model, "--adapters-dir", str(tmp_path)], {}).model == model
    assert parse(["--backend", "modal", "--model", "/volumes/mine"], {}).model == "/volumes/mine"  # not of this machine


TOKEN = {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x"}


@pytest.mark.parametrize(
    ("environ", "backend"),
    [
        ({}, "local"),
        (TOKEN, "local"),  # a laptop with a token: the embedded model stays the first visit
        ({"SPACE_ID": "me/space"}, "local"),
        ({"SPACE_ID": "me/space", **TOKEN}, "modal"),
        ({"SPACE_ID": "me/space", **TOKEN, "VISUALIZER_BACKEND": "local"}, "local"),
        ({"VISUALIZER_BACKEND": "modal"}, "modal"),
    ],
)
def test_a_space_with_a_modal_token_calls_modal(environ, backend):
    settings = parse([], environ)
    assert settings.backend == backend
    assert settings.base_model == ("demo" if backend == "local" else "")


def test_where_torch_is_not_installed_modal_is_the_backend(monkeypatch):
    monkeypatch.setattr("inference.settings.find_spec", lambda name: None)
    assert parse([], {}).backend == "modal"
    assert parse(["--backend", "local"], {}).backend == "local"


def test_adapters_of_this_machine_are_refused_for_modal(capsys):
    with pytest.raises(SystemExit):
        parse(["--backend", "modal", "--adapter", "mine=/runs/lora"], {})
    assert "modal volume put lora-attention-visualizer-adapters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SCALEDOWN_WINDOW", "1"), ("SCALEDOWN_WINDOW", "4000"), ("MIN_CONTAINERS", "9"), ("TIMEOUT", "0"), ("GPU", ",")],
)
def test_settings_of_modal_are_checked(variable, value):
    with pytest.raises(SystemExit):
        parse([], {f"VISUALIZER_MODAL_{variable}": value})
