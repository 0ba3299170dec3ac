"""The command `python -m inference.batch`: its command line, its order of work, and what it says."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from PIL import Image

from inference.backend import Backend, open_backend
from inference.batch.answers import Answers, only_run, write_summary
from inference.batch.focus import Focus
from inference.batch.items import PromptLine, list_images, read_lines, shown
from inference.batch.over_set import SetScores, sentence, set_scores
from inference.batch.pages import INDEX, pages_of, write_index
from inference.batch.progress import ProgressBar
from inference.batch.run import Batch
from inference.batch.set_files import TABLE, forget_set, set_section, write_set
from inference.batch.variants import engine_digest, named_variants, variants_of_folder
from inference.command_line import check_settings, settings_from, settings_parser
from inference.descriptions import AdapterInfo
from inference.errors import InputError, VisualizerError
from inference.limits import check_limits
from inference.logs import set_up
from inference.named_adapters import split_adapter
from inference.request import NEW_TOKENS, Request
from inference.settings import Settings

PROGRAM = "python -m inference.batch"
DESCRIPTION = "Ask prompts of every image in a folder, with and without adapters. The same command again goes on."
#: Failures that are named at the end; the summary has all of them.
NAMED = 5
#: What of the adapters folder is not asked, named at the start.
SKIPPED_NAMED = 10
#: Settings of the page alone, and `adapter`, which here chooses as well as offers.
_NOT_HERE = frozenset({"adapter", "host", "port", "metrics_host", "metrics_port", "share", "auth"})


def main(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    open_: Callable[[Settings], Backend] | None = None,
    stream: TextIO | None = None,
) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name.
        environ: usually `os.environ`.
        open_: opens the backend; tests pass their own.
        stream: where everything is said; None is stderr.

    Returns:
        The exit code, see `inference.batch`.

    Raises:
        SystemExit: code 0 after `--help`; code 2 after one line that says what is wrong with the command line.
    """
    say = _Speaker(stream or sys.stderr)
    given = _parser().parse_args(arguments)
    try:
        return _run(given, environ, open_ or _open, say)
    except VisualizerError as error:
        say(f"{PROGRAM}: error: {error}")
        return 2
    except KeyboardInterrupt:
        say("Stopped. What was finished is saved; the same command goes on from there.")
        return 130


class _Speaker:
    """Says one line at a time; what would steer a terminal is shown as `�`."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __call__(self, sentence: str) -> None:
        self.stream.write("".join(letter if letter.isprintable() else "�" for letter in sentence) + "\n")
        self.stream.flush()


def _parser() -> argparse.ArgumentParser:
    parser = settings_parser(PROGRAM, DESCRIPTION, without=_NOT_HERE)
    parser.add_argument("images", metavar="IMAGES_FOLDER", help="folder of the images, with its sub-folders")
    words = parser.add_mutually_exclusive_group(required=True)
    words.add_argument(
        "--prompts",
        metavar="FILE",
        help='lines such as {"prompt": "…", "image": "a.jpg"}, or of a training set: {"messages": …, "images": …}',
    )
    words.add_argument("--prompt", metavar="TEXT", help="one prompt, asked of every image")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder of the answers and their summary")
    parser.add_argument(
        "--adapter",
        metavar="NAME[=SOURCE]",
        action="append",
        default=[],
        help="adapter to ask, on offer already or from SOURCE, a folder or Hub id; repeatable; without it base alone, "
        "or all of --adapters-dir",
    )
    parser.add_argument("--no-base", action="store_true", help="leave the base model out")
    parser.add_argument("--max-new-tokens", metavar="N", type=int, default=NEW_TOKENS, help="most answer tokens")
    parser.add_argument(
        "--focus",
        metavar="TOKENS",
        default="first",
        help='tokens of the answer to measure at: first (default), last, digits, or a "text" that the answers hold',
    )
    parser.add_argument("--report", action="store_true", help="also make a page to open of each answer, and an index")
    parser.add_argument("--vision-tower", action="store_true", help="record the vision tower too")
    return parser


def _open(settings: Settings) -> Backend:
    return open_backend(settings.backend, settings=settings)


def _run(
    given: argparse.Namespace, environ: Mapping[str, str], open_: Callable[[Settings], Backend], say: _Speaker
) -> int:
    settings, wanted = _settings(given, environ)
    focus = Focus.parse(given.focus)
    if given.no_base and not wanted and not settings.adapters_dir:
        raise InputError("--no-base leaves no one to ask.", "Choose an --adapter.")
    folder = Path(given.images)
    images = list_images(folder)
    lines = (PromptLine(given.prompt),) if given.prompts is None else read_lines(Path(given.prompts))
    if not images and any(line.image is None for line in lines):
        raise InputError(
            f"There is no image in {str(folder)!r}.", "It may hold PNG, JPEG, WebP, GIF, TIFF or BMP files."
        )
    templates = [_template(line, given, settings) for line in lines]
    with only_run(Path(given.out)):
        answers = Answers(Path(given.out))
        say(f"Opening the model {settings.base_model or 'on Modal'} …")
        backend = open_(settings)
        try:
            adapters = _adapters(wanted, settings, backend, say)
            variants = (*(() if given.no_base else (None,)), *(info.name for info in adapters))
            templates = [_for_variants(template, variants, settings) for template in templates]
            engine = engine_digest(settings, backend.model_info(), adapters)
            batch = Batch(folder, lines, images, templates, settings.limits, engine, answers, focus)
            return _go(batch, backend, variants, adapters, answers, say, report=given.report)
        finally:
            answers.close()
            backend.close()


def _go(
    batch: Batch,
    backend: Backend,
    variants: Sequence[str | None],
    adapters: Sequence[AdapterInfo],
    answers: Answers,
    say: _Speaker,
    *,
    report: bool,
) -> int:
    """Look up, run, sum up, and say all of it."""
    items = len(batch.items)
    if answers.stems():
        say("Looking up what is done …")
    todo = batch.look()
    images, prompts = len({item.image for item in batch.items}), len({item.line for item in batch.items})
    names = ", ".join(name or "base" for name in variants)
    say(f"{_many(images, 'image')}, {_many(prompts, 'prompt')}: {_many(items, 'item')}, each asked of {names}.")
    say(f"{items - len(todo)} already done, {len(todo)} to do.")
    bar, stopped, code = ProgressBar(items, items - len(todo), say.stream), "", 0
    try:
        batch.run(backend, todo, bar)
    except KeyboardInterrupt:
        stopped, code = "Stopped.", 130
    except VisualizerError as error:
        stopped, code = f"Stopped, since it cannot go on: {error}", 2
    bar.close()
    write_summary(answers.folder, batch.rows())
    scores = set_scores(batch.rows(), adapters)
    if scores:
        write_set(answers.folder, scores)
    else:
        forget_set(answers.folder)
    if report and not stopped and not _make_pages(batch, answers.folder, scores, say):
        stopped, code = "Stopped.", 130
    if scores:
        _say_set(scores, answers.folder / TABLE, say)
    placed = sum(bool(row.get("said")) for row in batch.rows() if row["focus"] == "first")
    if placed:
        say(f"{_many(placed, 'answer')} with a place, measured at the first token; --focus digits: at its digits.")
    return _conclude(batch, stopped, code, answers.folder / "summary.csv", say)


def _say_set(scores: SetScores, table: Path, say: _Speaker) -> None:
    """What the whole set says of each variant, and of each training run."""
    missing = f" ({scores.missing:,} more could not be measured)" if scores.missing else ""
    say(f"Over {_many(scores.scores[0].items, 'answer')} with a target{missing}: {table}")
    for score in scores.scores:
        rates = ", ".join(
            f"{what} {100 * mean.mean:.0f} %" for what, mean in score.means.items() if mean.mean == mean.mean
        )
        say(f"  {score.variant}: {rates}")
    for family in scores.families:
        say(f"  {sentence(scores, family)}")


def _make_pages(batch: Batch, folder: Path, scores: SetScores | None, say: _Speaker) -> bool:
    """The pages that are missing, and the index; False where Ctrl-C stopped it: the next run goes on from there."""
    pages = pages_of(batch.rows())
    missing = [page for page in pages if not page.is_there(folder)]
    say(f"{_many(len(pages), 'page')}, {len(pages) - len(missing)} already made: {folder / INDEX}")
    bar = ProgressBar(len(pages), len(pages) - len(missing), say.stream)
    try:
        for page in missing:
            page.write(folder)
            bar.step()
    except KeyboardInterrupt:
        return False
    finally:
        bar.close()
        write_index(folder, batch.rows(), set_section(folder, scores) if scores else "")
    return True


def _conclude(batch: Batch, stopped: str, code: int, summary: Path, say: _Speaker) -> int:
    items, done = len(batch.items), batch.done
    for index in sorted(batch.failed)[:NAMED]:
        item, error = batch.items[index], batch.failed[index]
        say(f"  item {index + 1}, {shown(item.image)}: {error.code}: {error}")
    if len(batch.failed) > NAMED:
        say(f"  … and {len(batch.failed) - NAMED} more")
    if stopped:
        say(stopped)
    say(f"{done} of {_many(items, 'item')} are there, {len(batch.failed)} failed: {summary}")
    if done < items:
        say("The same command again goes on, and tries what failed.")
    return code or int(done < items)


def _settings(given: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, with the adapters that the command line offers, and the names that it chooses."""
    settings = settings_from({name: value for name, value in vars(given).items() if name != "adapter"}, environ)
    chosen = [(*split_adapter(text), text) for text in given.adapter]
    offered = {name: text for name, source, text in chosen if source}
    kept = [text for text in settings.adapter if split_adapter(text)[0] not in offered]
    settings = replace(settings, adapter=(*kept, *(text for _, source, text in chosen if source)))
    check_settings(settings)
    return settings, [name for name, _, _ in chosen]


def _template(line: PromptLine, given: argparse.Namespace, settings: Settings) -> Request:
    """The request of a prompt but for its image and adapters.

    Raises:
        InputError: words or bounds that no request may have; the message names the line.
    """
    try:
        template = Request(
            image=[Image.new("RGB", (1, 1))] * (1 + len(line.more_images)),
            prompt=line.prompt,
            system=line.system or None,
            answer=line.answer,
            max_new_tokens=given.max_new_tokens,
            max_image_tokens=settings.limits.max_image_tokens,
            vision_tower=given.vision_tower,
        )
        check_limits(template, settings.limits)
    except InputError as error:
        raise InputError(f"{line.place}: {error.message}", error.hint) from error
    return template


def _adapters(wanted: Sequence[str], settings: Settings, backend: Backend, say: _Speaker) -> tuple[AdapterInfo, ...]:
    """Whom to ask beside base; where nobody was named, all of the adapters folder, which is said."""
    if wanted or not settings.adapters_dir:
        return named_variants(wanted, backend.adapters())
    adapters, skipped = variants_of_folder(settings, backend.adapters())
    say(f"No --adapter was chosen: asking {_many(len(adapters), 'adapter')} of {settings.adapters_dir}.")
    for info in skipped[:SKIPPED_NAMED]:
        say(f"  not asked: {info.name}: {' '.join(info.notes)}")
    if len(skipped) > SKIPPED_NAMED:
        say(f"  … nor {len(skipped) - SKIPPED_NAMED} more")
    return adapters


def _for_variants(template: Request, variants: tuple[str | None, ...], settings: Settings) -> Request:
    """A prompt's request with whom it is asked of.

    Raises:
        InputError: more than may be asked at once; all else was checked before.
    """
    request = replace(template, adapters=variants, answer_from="")
    try:
        check_limits(request, settings.limits)
    except InputError as error:
        raise InputError(error.message, "Choose some with --adapter, or raise VISUALIZER_MAX_VARIANTS.") from error
    return request


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


if __name__ == "__main__":
    set_up(logging.WARNING)
    sys.exit(main(sys.argv[1:], os.environ))
