"""Command lines made from the flags of `Settings`: flag over environment variable over default."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from inference.errors import InputError
from inference.named_adapters import named_adapters
from inference.settings import Limits, Settings, environment_variable

DESCRIPTION = (
    "See where Qwen3-VL looks, before and after a LoRA adapter, side by side. Without flags: the embedded model."
)


def parse(arguments: Sequence[str], environ: Mapping[str, str], *, prog: str = "app.py") -> Settings:
    """Read the settings of this process.

    Args:
        arguments: the command line without the program's name.
        environ: usually `os.environ`.
        prog: the program's name in messages.

    Raises:
        SystemExit: code 0 after `--help`; code 2 after one line that says what is wrong.
    """
    parser = settings_parser(prog, DESCRIPTION)
    given = vars(parser.parse_args(arguments))
    try:
        return settings_from(given, environ)
    except InputError as error:
        parser.error(str(error))


def settings_parser(prog: str, description: str, *, without: Collection[str] = ()) -> argparse.ArgumentParser:
    """A parser with one flag per setting; more may be added to it. Its errors are one line, with code 2.

    Args:
        prog: the program's name in messages.
        description: what `--help` says first.
        without: names of settings that this program does not have.
    """
    parser = _Parser(prog=prog, description=description, formatter_class=_OneLine, allow_abbrev=False)
    for field in _flags(Settings) + _flags(Limits):
        if field.name not in without:
            _add(parser, field)
    return parser


def settings_from(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings that a parsed command line and the environment give.

    Args:
        given: what the parser read, by name; names that are no setting's are left alone.
        environ: usually `os.environ`.

    Raises:
        InputError: a value of the wrong type or outside its choices, or adapters that cannot be named so.
    """
    settings = Settings.from_environment(environ)
    own = {name: given[name] for name in _names(Settings) if name in given}
    limits = {name: given[name] for name in _names(Limits) if name in given}
    if "adapter" in own:
        own["adapter"] = tuple(own["adapter"])
    settings = replace(settings, limits=replace(settings.limits, **limits), **own)
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """Refuse a model or adapters that cannot be there, before anything is opened.

    Raises:
        InputError: not `NAME=SOURCE`, a name that cannot be or comes twice, a folder that is not there, adapters with
            Modal.
    """
    if settings.backend == "modal":
        _check_for_modal(settings)
    elif _is_missing_folder(settings.model):
        raise InputError(
            f"--model: there is no folder {settings.model!r}.", "Name a folder, an id of the Hub, or demo."
        )
    if settings.adapters_dir and not Path(settings.adapters_dir).is_dir():
        raise InputError(f"--adapters-dir: there is no folder {settings.adapters_dir!r}.", "Name one that is there.")
    for name, source in named_adapters(settings.adapter).items():
        if _is_missing_folder(source):
            raise InputError(f"--adapter {name}: there is no folder {source!r}.", "Name a folder, or an id of the Hub.")


def _is_missing_folder(source: str) -> bool:
    """Whether it is written as a path, which no id of the Hub is, and no folder is there."""
    return source.startswith(("/", "./", "../", "~")) and not Path(source).is_dir()


def _check_for_modal(settings: Settings) -> None:
    if settings.adapter or settings.adapters_dir:
        raise InputError(
            "With --backend modal, adapters are those of the deployment, not of this machine.",
            f"Upload a folder: modal volume put {settings.cloud.modal_adapters_volume} FOLDER /NAME.",
        )
    for name in ("attention", "device", "dtype"):
        if getattr(settings, name) != "auto":
            raise InputError(
                f"With --backend modal, --{name} is the deployment's, not this machine's.",
                f"Deploy with {environment_variable(name)} set.",
            )


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


class _OneLine(argparse.HelpFormatter):
    """Each flag on one line, however wide."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=46, width=220)


def _flags(owner: type[Settings] | type[Limits]) -> list[Field[Any]]:
    return [field for field in fields(owner) if field.metadata.get("flag")]


def _names(owner: type[Settings] | type[Limits]) -> list[str]:
    return [field.name for field in _flags(owner)]


def _add(parser: argparse.ArgumentParser, field: Field[Any]) -> None:
    flag = "--" + field.name.replace("_", "-")
    shown: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(field)}
    if field.type is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, **shown)
    elif get_origin(field.type) is tuple:
        parser.add_argument(flag, action="append", metavar="NAME=SOURCE", **shown)
    elif get_origin(field.type) is Literal:
        parser.add_argument(flag, choices=get_args(field.type), **shown)
    else:
        kind = field.type if field.type in (int, float) else str
        metavar = _METAVARS.get(field.name, "N" if kind is int else "VALUE")
        parser.add_argument(flag, type=kind, metavar=metavar, **shown)


_METAVARS = {
    "model": "ID_OR_FOLDER",
    "adapters_dir": "FOLDER",
    "auth": "USER:PASSWORD",
    "host": "ADDRESS",
}


def _help(field: Field[Any]) -> str:
    default = field.default if field.default is not MISSING else None
    stated = "" if default in (None, "", ()) or field.type is bool else f"; default {default}"
    text = f"{field.metadata['help']} [{environment_variable(field.name)}{stated}]"
    return text.replace("%", "%%")
