"""What a stranger's adapter folder may hold: files that are none, patterns that never end, numbers beyond reason."""

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from inference.adapters import patterns
from inference.adapters.catalog import AdapterCatalog
from inference.adapters.files import MOST_CONFIG_BYTES, MOST_WEIGHTS_BYTES, AdapterSource, read_adapter
from inference.adapters.kinds import MOST_RANK
from inference.adapters.patterns import LONGEST, MOST_PATTERNS, check_patterns
from inference.demo import ADAPTERS_DIR
from inference.errors import AdapterRefusedError
from inference.model.engine import Engine
from inference.settings import Settings
from tests.conftest import picture
from visualize.analysis_json import adapter_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
GOOD = ADAPTERS_DIR / "find-red"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapters folder with a good one and one that a test spoils."""
    shutil.copytree(GOOD, tmp_path / "all" / "good")
    shutil.copytree(GOOD, tmp_path / "all" / "spoiled")
    return tmp_path / "all"


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def elsewhere(path: Path) -> None:
    outside = path.parent.parent.parent / f"outside-{path.name}"
    path.rename(outside)
    path.symlink_to(outside)


def itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def sparse(path: Path) -> None:
    os.truncate(path, 20 * 2**30)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def deep(path: Path) -> None:
    path.write_text("[" * 200_000)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("spoil", [pipe, device, elsewhere, itself, sparse, directory, deep, nothing])
def test_a_file_that_is_none_is_refused_at_once_and_takes_no_other_adapter_down(folder: Path, spoil: Any, name: str):
    spoil(folder / "spoiled" / name)
    begun = time.monotonic()
    found = {info.name: info for info in AdapterCatalog(adapters_dir=folder).describe()}
    assert time.monotonic() - begun < 30
    assert found["good"].usable
    assert not found["spoiled"].usable
    assert found["spoiled"].notes[0]


def test_the_hubs_own_links_are_followed(tmp_path: Path):
    """`snapshots/REVISION/file` → `../../blobs/digest`, as huggingface_hub lays its cache out."""
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name in (CONFIG, WEIGHTS):
        shutil.copy(GOOD / name, blobs / f"digest-{name}")
        (snapshot / name).symlink_to(Path("..", "..", "blobs", f"digest-{name}"))
    assert read_adapter(AdapterSource("hub", str(snapshot))).info.kind == "LoRA"


def test_sizes_beyond_reason_are_said(folder: Path):
    spoiled = folder / "spoiled"
    (spoiled / CONFIG).write_text(" " * (MOST_CONFIG_BYTES + 1))
    with pytest.raises(AdapterRefusedError, match=f"has 1,048,577 bytes; at most {MOST_CONFIG_BYTES:,} are read"):
        read_adapter(AdapterSource("spoiled", str(spoiled)))
    shutil.copy(GOOD / CONFIG, spoiled / CONFIG)
    os.truncate(spoiled / WEIGHTS, MOST_WEIGHTS_BYTES + 1)
    with pytest.raises(AdapterRefusedError, match=f"at most {MOST_WEIGHTS_BYTES:,} are read"):
        read_adapter(AdapterSource("spoiled", str(spoiled)))


def test_a_folder_that_breaks_the_reader_is_unusable_alone(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(source: AdapterSource) -> Any:
        if source.name == "spoiled":
            raise MemoryError
        return read_adapter(source)

    monkeypatch.setattr("inference.adapters.catalog.read_adapter", broken)
    found = {info.name: info for info in AdapterCatalog(adapters_dir=folder).describe()}
    assert found["good"].usable
    assert found["spoiled"].notes == ("Its files cannot be read (MemoryError).",)


def with_config(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"r": 10**8},
        {"r": 0},
        {"r": True},
        {"r": 2.5},
        {"rank_pattern": {"q_proj": 10**8}},
        {"rank_pattern": {"q_proj": 0}},
        {"rank_pattern": {"q_proj": 1.5}},
        {"rank_pattern": {"q_proj": MOST_RANK + 1}},
    ],
)
def test_a_rank_that_is_none_is_refused_before_anything_is_made_of_it(folder: Path, changes: dict[str, Any]):
    with pytest.raises(AdapterRefusedError, match="rank"):
        read_adapter(AdapterSource("spoiled", str(with_config(folder / "spoiled", **changes))))


ENDLESS = "(([a-z._0-9]+)+)+!"
NAMES = [f"model.language_model.layers.{layer}.self_attn.q_proj" for layer in range(36)]


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ENDLESS},
        {"exclude_modules": ENDLESS},
        {"rank_pattern": {"q_proj": 4, ENDLESS: 4}},
        {"alpha_pattern": {ENDLESS: 4}},
        {"layers_pattern": ["layers", ENDLESS]},
        {"modules_to_save": [ENDLESS]},
        {"target_modules": "(.*)*(.*)*(.*)*(.*)*(.*)*x!"},
        {"target_modules": ".*" * 30 + "!"},
    ],
    ids=lambda config: "-".join(config),
)
def test_a_pattern_that_takes_for_ever_is_refused_in_time(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patterns, "SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(AdapterRefusedError, match=r"take more than 0\.5 s to match"):
        check_patterns("spoiled", config, NAMES)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"^model.layers.0.q_proj": 8}},
        {"target_modules": r"^(?!.*(?:visual|merger)).*(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj).*"},
        {"target_modules": r"^(model\.language_model(?=\.).*\.(q_proj|v_proj|o_proj))$"},
        {"target_modules": r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q|k)_proj.*?)|(?:\bmodel\.layers\b.*)"},
        {"target_modules": "((", "rank_pattern": {"*": 3}},  # no patterns at all: whoever matches them says so
    ],
    ids=range(7),
)
def test_the_patterns_that_trainers_write_are_matched(config: dict[str, Any]):
    check_patterns("good", config, NAMES)


def test_too_many_patterns_and_too_long_ones_are_refused():
    with pytest.raises(AdapterRefusedError, match="at most 8,192 of 2,000 are read"):
        check_patterns("spoiled", {"rank_pattern": {f"layer{index}": 1 for index in range(MOST_PATTERNS + 1)}}, NAMES)
    with pytest.raises(AdapterRefusedError, match="the longest of 2,001 characters"):
        check_patterns("spoiled", {"target_modules": "a" * (LONGEST + 1)}, NAMES)


def test_an_endless_pattern_freezes_nothing_and_the_next_adapter_is_answered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with_config(folder / "spoiled", target_modules=ENDLESS)
    settings = Settings(model="demo", device="cpu", adapters_dir=str(folder))
    engine = Engine(settings, AdapterCatalog.from_settings(settings))
    from inference import Request

    request = Request(picture(64, 96), "x", adapters=("spoiled",), max_new_tokens=1)
    begun = time.monotonic()
    with monkeypatch.context() as patch:  # for this one alone: a busy machine takes longer over the other's, too
        patch.setattr(patterns, "SECONDS", 0.5)
        with pytest.raises(AdapterRefusedError, match=r"take more than 0.5 s to match: '\(\(\[a-z"):
            engine.compare(request)
    assert time.monotonic() - begun < 20
    assert engine.compare(Request(picture(64, 96), "x", adapters=("good",), max_new_tokens=1)).recordings[0].answer


def test_words_that_are_no_text_take_no_list_of_adapters_down(folder: Path, caplog: pytest.LogCaptureFixture):
    """Half of a surrogate pair in a config, or a name of bytes that are no UTF-8, cannot be sent as JSON."""
    with_config(folder / "spoiled", base_model_name_or_path="\ud800")
    Path(os.fsdecode(bytes(folder) + b"/\xff\xfe")).mkdir()
    Path(os.fsdecode(bytes(folder) + b"/\xff\xfe/\xfd.bin")).write_bytes(b"a pickle")
    (folder / "a\nERROR evil: all is lost \x1b[2J").mkdir()
    with caplog.at_level(logging.INFO):
        found = AdapterCatalog(adapters_dir=folder).describe()
    assert caplog.records
    assert not any(letter in record.getMessage() for record in caplog.records for letter in "\n\x1b\ufffe\udcff")
    json.dumps([adapter_json(info) for info in found], ensure_ascii=False).encode("utf-8")
    lost = "a�ERROR evil: all is lost �[2J"
    assert {info.name: info.kind for info in found} == {
        "good": "LoRA",
        "spoiled": "unusable",
        "��": "skipped",
        lost: "skipped",
    }
