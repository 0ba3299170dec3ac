"""Which adapters exist: found a few levels deep, named by their path, noticed when they are replaced."""

import os
import shutil
from pathlib import Path

import pytest

from inference.adapters.catalog import AdapterCatalog
from inference.adapters.search import MAX_DEPTH, MAX_FOLDERS
from inference.demo import ADAPTERS_DIR
from inference.errors import AdapterRefusedError, InputError, UnknownAdapterError
from inference.settings import Settings

ADAPTER = ADAPTERS_DIR / "find-red"
OTHER = ADAPTERS_DIR / "find-circle"


def put(folder: Path, adapter: Path = ADAPTER) -> Path:
    return shutil.copytree(adapter, folder)


def usable(catalog: AdapterCatalog) -> list[str]:
    return [info.name for info in catalog.describe() if info.usable]


def test_the_layout_of_llama_factory_is_families_named_by_their_path_in_step_order(tmp_path):
    run = tmp_path / "qwen3vl" / "lora" / "sft"
    put(run)
    for step in (1_000, 20, 300):
        put(run / f"checkpoint-{step}")
    (run / "runs" / "Nov25").mkdir(parents=True)  # logs, which every run has beside its adapter
    (run / "runs" / "Nov25" / "events.out").write_text("x")
    catalog = AdapterCatalog(adapters_dir=tmp_path)
    name = "qwen3vl-lora-sft"
    assert usable(catalog) == [f"{name}-checkpoint-20", f"{name}-checkpoint-300", f"{name}-checkpoint-1000", name]
    assert {(info.family, info.step) for info in catalog.describe()} == {
        (name, 20),
        (name, 300),
        (name, 1_000),
        (name, None),
    }
    assert "Its folder is 'qwen3vl/lora/sft'." in catalog.describe()[0].notes
    assert catalog.skipped == ()


def test_the_layout_of_ms_swift_is_a_family(tmp_path):
    put(tmp_path / "v0-20251124-101500" / "checkpoint-20")
    put(tmp_path / "v0-20251124-101500" / "checkpoint-100")
    catalog = AdapterCatalog(adapters_dir=tmp_path)
    assert usable(catalog) == ["v0-20251124-101500-checkpoint-20", "v0-20251124-101500-checkpoint-100"]


def test_what_is_no_adapter_is_listed_with_the_reason(tmp_path):
    put(tmp_path / "good")
    merged = tmp_path / "export" / "merged"
    merged.mkdir(parents=True)
    (merged / "config.json").write_text("{}")
    (merged / "model.safetensors").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / "deep" / "train.log").write_text("x")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "lora.safetensors").write_bytes(b"")
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    put(tmp_path / "half")
    (tmp_path / "half" / "adapter_model.safetensors").unlink()
    (tmp_path / "good" / "checkpoint-5").mkdir()
    catalog = AdapterCatalog(adapters_dir=tmp_path)
    assert {entry.path_name: entry.reason for entry in catalog.skipped} == {
        "export/merged": "holds a whole model, not an adapter: give it to --model",
        "empty": "is empty",
        "logs": "holds no adapter, nor do the folders in it",
        "old": "holds only pickles (pytorch_model.bin), which can run code and are not opened",
        "bare": "holds lora.safetensors without an adapter_config.json",
        "good/checkpoint-5": "is empty",
    }
    infos = {info.name: info for info in catalog.describe()}
    assert usable(catalog) == ["good"]
    assert infos["half"].kind == "unusable"
    assert "no adapter_model.safetensors" in infos["half"].notes[0]
    assert infos["export/merged"].kind == "skipped"
    assert infos["export/merged"].notes == ("'export/merged' holds a whole model, not an adapter: give it to --model.",)
    assert catalog.names == ("good", "half"), "what was skipped cannot be asked for"
    with pytest.raises(UnknownAdapterError):
        catalog.files("export/merged")


def test_what_was_skipped_is_logged_once(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "empty").mkdir()
    catalog = AdapterCatalog(adapters_dir=tmp_path)
    catalog.refresh()
    assert [record.getMessage() for record in caplog.records] == ["below the adapters folder, 'empty' is empty"]


def test_the_search_is_bounded_in_depth_and_number(tmp_path, monkeypatch):
    put(tmp_path.joinpath("deep", *map(str, range(MAX_DEPTH))))
    put(tmp_path.joinpath("near", *map(str, range(MAX_DEPTH - 1))))
    catalog = AdapterCatalog(adapters_dir=tmp_path)
    assert usable(catalog) == ["near-0-1-2-3"]
    (skipped,) = catalog.skipped
    assert skipped.path_name == "deep/0/1/2/3"
    assert f"{MAX_DEPTH} folders deep" in skipped.reason
    for number in range(MAX_FOLDERS + 20):
        (tmp_path / f"a{number:05}").mkdir()
    reasons = [entry.reason for entry in AdapterCatalog(adapters_dir=tmp_path).skipped]
    assert sum("more than 1,000 folders" in reason for reason in reasons) == 1
    assert len(reasons) == MAX_FOLDERS + 1


def test_a_folder_that_links_to_itself_ends(tmp_path):
    put(tmp_path / "good")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert "good" in usable(AdapterCatalog(adapters_dir=tmp_path))


def test_names_are_plain_and_unique_whatever_the_folders_are_called(tmp_path):
    for folder in ("a/b", "a-b", "base", "x" * 100, "<b>ä"):
        put(tmp_path / folder)
    catalog = AdapterCatalog({"named": tmp_path / "a-b"}, tmp_path)
    names = usable(catalog)
    assert len(names) == len(set(names)) == 6
    assert names[0] == "named"
    assert {"a-b", "b"} < set(names)
    assert any(name.startswith("a-b-") for name in names)
    assert any(name.startswith("base-") for name in names)
    assert all(len(name) <= 64 for name in names)
    assert AdapterCatalog({"named": tmp_path / "a-b"}, tmp_path).names == catalog.names


@pytest.mark.parametrize("how", ["written", "moved over"])
def test_a_file_replaced_by_one_of_equal_size_and_mtime_is_noticed(tmp_path, how):
    folder, other = put(tmp_path / "mine"), put(tmp_path / "other", OTHER)
    weights, theirs = folder / "adapter_model.safetensors", other / "adapter_model.safetensors"
    assert weights.stat().st_size == theirs.stat().st_size
    catalog = AdapterCatalog({"mine": folder})
    files, (before,) = catalog.files("mine"), catalog.describe()
    assert catalog.is_current("mine", files)
    assert catalog.describe() == (before,)
    times = weights.stat().st_atime_ns, weights.stat().st_mtime_ns
    if how == "written":
        weights.write_bytes(theirs.read_bytes())
    else:
        os.utime(theirs, ns=times)
        theirs.replace(weights)
    os.utime(weights, ns=times)
    assert weights.stat().st_mtime_ns == times[1]
    assert not catalog.is_current("mine", files)
    (after,) = catalog.describe()
    assert after.stamp != before.stamp


def test_on_a_mounted_volume_the_inode_and_the_time_of_change_do_not_count(tmp_path):
    first, second = put(tmp_path / "one" / "mine"), tmp_path / "two" / "mine"
    here, there = (AdapterCatalog({"mine": first}, mounted=mounted) for mounted in (False, True))
    stamps = [catalog.describe()[0].stamp for catalog in (here, there)]
    shutil.copytree(first, second)  # the same files on another mount, in the same place
    shutil.rmtree(first)
    shutil.move(second, first)
    again = [AdapterCatalog({"mine": first}, mounted=mounted).describe()[0].stamp for mounted in (False, True)]
    assert again[0] != stamps[0]
    assert again[1] == stamps[1]


def test_a_repeated_look_opens_no_file_again(monkeypatch):
    from inference.adapters import catalog as module

    reads: list[str] = []
    original = module.read_adapter
    monkeypatch.setattr(module, "read_adapter", lambda source: reads.append(source.name) or original(source))
    catalog = AdapterCatalog(model="demo")
    first = catalog.describe()
    catalog.refresh()
    assert catalog.describe() == first
    assert len(reads) == len(first)


def test_the_embedded_model_brings_its_own_adapters_and_settings_add_theirs(tmp_path):
    put(tmp_path / "runs" / "third")
    settings = Settings(adapter=(f"mine={ADAPTER}",), adapters_dir=str(tmp_path / "runs"))
    catalog = AdapterCatalog.from_settings(settings, {"given": str(OTHER)})
    assert catalog.names[-3:] == ("mine", "given", "third")
    assert "find-red" in catalog.names
    assert catalog.describe()[0].description
    assert AdapterCatalog.from_settings(Settings(model="someone/else")).names == ()


def test_an_adapters_folder_that_is_not_there_is_refused_at_the_start_and_later(tmp_path):
    with pytest.raises(InputError, match="'gone' is not a folder"):
        AdapterCatalog(adapters_dir=tmp_path / "gone")
    folder = tmp_path / "runs"
    folder.mkdir()
    catalog = AdapterCatalog(adapters_dir=folder)
    folder.rmdir()
    with pytest.raises(InputError, match="'runs' is not a folder"):
        catalog.refresh()


def test_an_adapter_that_is_neither_a_folder_nor_on_the_hub_is_unusable_with_the_reason():
    catalog = AdapterCatalog({"mine": "nobody/nothing"})
    (info,) = catalog.describe()
    assert not info.usable
    assert "no folder here" in info.notes[0]
    with pytest.raises(AdapterRefusedError, match="HF_TOKEN"):
        catalog.files("mine")
