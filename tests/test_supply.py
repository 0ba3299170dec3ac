"""What is installed is what the locks say, and no weights or code come in by a door that runs them."""

import ast
import contextlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.cloud.image import LOCK, container_image
from inference.demo import ADAPTERS_DIR
from inference.errors import ModelError
from inference.settings import Settings
from tests import ROOT, supply

FILES = [ROOT / "app.py", *sorted(path for room in ("inference", "visualize") for path in ROOT.glob(f"{room}/**/*.py"))]
#: What unpickles or runs whatever a file holds.
RUNS = frozenset(
    {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "yaml", "imp"}
)


@pytest.mark.parametrize("name", sorted(supply.wanted()))
def test_each_lock_holds_what_pyproject_wants_and_a_digest_of_everything(name: str):
    assert list(supply.unmet(name)) == []
    text = (supply.LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    locked = supply.pins(text)
    assert len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) == len(locked)  # every line that begins a package
    assert all(digests for _, digests in locked.values())
    assert "://" not in text  # of no other place than the installer's own


def test_a_lock_that_is_out_of_date_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supply, "wanted", lambda: {"page": ["numpy>=99", "never-heard-of", "pillow>=12.0,<13"]})
    assert list(supply.unmet("page")) == [
        f"numpy>=99: locked is {supply.read('page')['numpy'][0]}",
        "never-heard-of: locked is none",
    ]


def test_the_container_on_modal_is_installed_by_its_lock_with_digests(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[tuple[object, ...], dict[str, object]]] = []
    import modal

    def noted(self: object, *packages: object, **options: object) -> object:
        asked.append((packages, options))
        return self

    monkeypatch.setattr(modal.Image, "uv_pip_install", noted)
    container_image(Settings(), "/volumes/models", {})
    assert asked == [((), {"requirements": [str(LOCK)], "extra_options": "--require-hashes"})]
    assert LOCK == supply.LOCKS / "container.txt"


def test_the_bill_of_materials_names_every_locked_package_and_the_embedded_weights():
    made = supply.sbom()
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["serialNumber"])
    refs = [part["bom-ref"] for part in made["components"]]
    assert len(set(refs)) == len(refs)
    assert made["dependencies"][0]["dependsOn"] == refs
    assert {part["name"] for part in made["components"] if part["type"] == "library"} == set(supply.read("page"))
    weights = {part["name"]: part["hashes"][0]["content"] for part in made["components"] if "hashes" in part}
    assert f"adapters/{next(ADAPTERS_DIR.iterdir()).name}/adapter_model.safetensors" in weights
    assert len(weights) == 1 + len(list(ADAPTERS_DIR.iterdir()))
    assert json.dumps(made) == json.dumps(supply.sbom())


def calls(path: Path) -> Iterator[tuple[str, dict[str, object], int]]:
    """(last name, its plain keyword arguments, line) of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = {each.arg: getattr(each.value, "value", each) for each in node.keywords if each.arg}
            yield name, given, node.lineno


def test_no_code_of_a_checkpoint_or_an_adapter_is_ever_run():
    for path in FILES:
        for name, given, line in calls(path):
            where = f"{path.relative_to(ROOT)}:{line}"
            assert given.get("trust_remote_code", False) is False, where
            assert given.get("allow_pickle", False) is False, where
            assert given.get("shell", False) is False, where
            assert name not in ("exec", "system", "popen"), where
            if name == "from_pretrained" and "training" not in path.parts:
                assert given["trust_remote_code"] is False, where


def test_weights_come_in_as_safetensors_or_weights_only():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not RUNS & {name.split(".")[0] for name in names}, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                given = {each.arg: ast.unparse(each.value) for each in node.keywords}
                assert given.get("weights_only") == "True", f"{path.relative_to(ROOT)}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ImageTextToText.from_pretrained"):
                given = {each.arg: ast.unparse(each.value) for each in node.keywords}
                assert given.get("use_safetensors") == "True", f"{path.relative_to(ROOT)}:{node.lineno}"
    weights = [
        path for path in (ROOT / "inference").rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")
    ]
    assert weights == []


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_a_checkpoint_that_brings_code_is_refused_and_its_code_is_not_run(tmp_path: Path, file: str):
    import shutil

    from inference.demo import MODEL_DIR
    from inference.model.checkpoint import load_checkpoint

    folder = shutil.copytree(MODEL_DIR, tmp_path / "model")
    code = f"from pathlib import Path\nPath({str(tmp_path / 'owned')!r}).touch()\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code)
    told = json.loads((folder / file).read_text())
    names = ("AutoConfig", "AutoTokenizer", "AutoImageProcessor", "AutoProcessor", "AutoModelForImageTextToText")
    told |= {"auto_map": dict.fromkeys(names, "evil.Evil"), "model_type": "never_heard_of"}
    told |= {"tokenizer_class": "Evil", "image_processor_type": "Evil"}
    (folder / file).write_text(json.dumps(told))
    with contextlib.suppress(ModelError):
        load_checkpoint(str(folder), "cpu")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("package", ["inference", "visualize"])
def test_every_file_of_the_packages_that_is_no_module_is_installed(package: str):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert settings["include-package-data"] is False
    folder = ROOT / package
    named = {path for pattern in settings["package-data"][package] for path in folder.glob(pattern)}
    there = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert len(there) > 10
    assert there <= named
