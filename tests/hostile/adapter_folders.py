"""The corpus of adapter folders: configs, weights and files as strangers could lay them; what is said of them is not
known here.
"""

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.demo import ADAPTERS_DIR

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
GOOD = ADAPTERS_DIR / "find-red"
#: What any entry of a config may be set to.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2.5, 10**8, -(10**9), 10**400, 1e308, float("nan"), float("inf")),
    *("", "x", "all-linear", "(", "*", "((a+)+)+!", "a" * 5_000, "\x00\x1b[2J", "\ud800", "日本", "../../etc/passwd"),
    *("<img src=x onerror=alert(1)>", "${globalThis.owned = 1}{{value}}", "=1+1"),
    *(
        [],
        [None],
        ["q_proj", 3],
        [["q_proj"]],
        ["x"] * 10_000,
        {},
        {"q_proj": 10**8},
        {"q_proj": "4"},
        {"(": 4},
        {"": 1},
    ),
)
KEYS = (
    *("peft_type", "r", "lora_alpha", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "bias"),
    *("modules_to_save", "target_parameters", "layers_to_transform", "layers_pattern", "init_lora_weights", "use_dora"),
    *(
        "use_rslora",
        "fan_in_fan_out",
        "base_model_name_or_path",
        "task_type",
        "revision",
        "lora_dropout",
        "auto_mapping",
    ),
    *("loftq_config", "eva_config", "megatron_config", "peft_version", "inference_mode", "never_heard_of"),
)


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder to lay: its name in bytes, since not every name is text, and what it does to a copy of a good one."""

    name: bytes
    kind: str
    spoil: Callable[[Path], None]


def folders(seed: int) -> Iterator[Folder]:
    """All of them; the same for the same seed."""
    rng = np.random.default_rng(seed)
    for key in KEYS:
        for index, value in enumerate(VALUES):
            yield Folder(f"config-{key}-{index}".encode(), "config", _with_config(**{key: value}))
    for index in range(60):
        yield Folder(f"config-cut-{index}".encode(), "config", _rewritten(CONFIG, _cut(rng)))
        yield Folder(f"weights-cut-{index}".encode(), "weights", _rewritten(WEIGHTS, _cut(rng)))
        yield Folder(f"weights-flipped-{index}".encode(), "weights", _rewritten(WEIGHTS, _flipped(rng)))
    for index, text in enumerate(_TEXTS):
        yield Folder(f"config-text-{index}".encode(), "config", _written(CONFIG, text))
    for label, content in _headers(rng).items():
        yield Folder(f"header-{label}".encode(), "weights", _written(WEIGHTS, content))
    for label, change in _TENSORS.items():
        yield Folder(f"tensors-{label}".encode(), "weights", _with_tensors(change))
    for name in (CONFIG, WEIGHTS):
        for spoil in _FILES:
            yield Folder(f"file-{spoil.__name__.strip('_')}-{name}".encode(), "file", _on(spoil, name))
    for pickle in ("adapter_model.bin", "adapter_model.pt", "pytorch_model.bin", "weights.pkl"):
        yield Folder(f"pickle-{pickle}".encode(), "file", _pickle(pickle))
    for index, name in enumerate(_NAMES):
        yield Folder(name + str(index).encode(), "name", lambda folder: None)


def lay(folder: Folder, below: Path) -> Path:
    """Copy the good adapter and spoil it."""
    place = below / os.fsdecode(folder.name)
    shutil.copytree(GOOD, place)
    folder.spoil(place)
    return place


_TEXTS = (
    *(b"", b"null", b"[]", b"3", b'"x"', b"{", b"{}", b"\xff\xfe\x00", b"[" * 100_000, b'{"r": ' * 5_000, b"NaN"),
    *(b'{"peft_type": "LORA"}', b'{"r": 1e999}', b'{"r": ' + b"9" * 10_000 + b"}", b" " * 2**20 + b"{}", bytes(1_000)),
    b'{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "\\ud800"}',
)
_NAMES = (
    *(b"<img src=x onerror=alert(1)>", b"${globalThis.owned = 1}{{value}}", b"=cmd|' !A0", b"a\nb", b"a\x1b[2J", b" "),
    *(b"\xff\xfe", "日本語".encode(), "‮evil".encode(), b"..", b"base", b"own", b"x" * 200, b"-rf", b"--", b"a'b\"c"),
    *(b"con", b"a%00b", b"a%2fb", b"a?b#c", b"a\\b", b".hidden", b"checkpoint-", b"checkpoint-99999999999999"),
)
_DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1}


def _with_config(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text()) | changes
        (folder / CONFIG).write_text(json.dumps(config))

    return spoil


def _written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def _rewritten(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    content = change((GOOD / name).read_bytes())
    return _written(name, content)


def _cut(rng: np.random.Generator) -> Callable[[bytes], bytes]:
    share = float(rng.random())
    return lambda content: content[: int(len(content) * share)]


def _flipped(rng: np.random.Generator) -> Callable[[bytes], bytes]:
    """Bits turned round, most of them in the header."""
    places, bits = rng.random(6) ** 3, rng.integers(0, 8, 6)

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        for place, bit in zip(places, bits, strict=True):
            changed[int(place * len(content))] ^= 1 << int(bit)
        return bytes(changed)

    return change


def _safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _headers(rng: np.random.Generator) -> dict[str, bytes]:
    """Weights of a few bytes whose headers say anything."""
    key = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"

    def one(shape: Any = (2, 2), offsets: Any = (0, 16), dtype: Any = "F32", name: str = key) -> dict[str, Any]:
        return {name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}

    made: dict[str, bytes] = {
        "empty": b"",
        "short": b"\1\0\0",
        "length-huge": _safetensors(b"{}", length=2**63),
        "length-beyond": _safetensors(b"{}", length=10_000),
        "length-zero": _safetensors(b""),
        "not-json": _safetensors(b"{nope"),
        "list": _safetensors([]),
        "nothing": _safetensors({}),
        "deep": _safetensors(b"[" * 100_000),
        "metadata-of-numbers": _safetensors({"__metadata__": {"a": 3}} | one(), bytes(16)),
        "metadata-large": _safetensors({"__metadata__": {"a": "x" * 10**6}} | one(), bytes(16)),
        "claims-a-terabyte": _safetensors(one((2**20, 2**18), (0, 2**40))),
        "claims-more-than-64-bits": _safetensors(one((2**40, 2**40), (0, 2**62))),
        "shape-negative": _safetensors(one((-2, -2)), bytes(16)),
        "shape-of-text": _safetensors(one("x"), bytes(16)),
        "shape-of-floats": _safetensors(one((2.0, 2.0)), bytes(16)),
        "shape-none": _safetensors(one(()), bytes(16)),
        "shape-many-axes": _safetensors(one((1,) * 1_000, (0, 4)), bytes(4)),
        "offsets-backwards": _safetensors(one((2, 2), (16, 0)), bytes(16)),
        "offsets-beyond": _safetensors(one((2, 2), (100, 116)), bytes(16)),
        "offsets-overlap": _safetensors(one() | one(name=key.replace("A", "B")), bytes(16)),
        "offsets-hole": _safetensors(one() | one((2, 2), (32, 48), name=key.replace("A", "B")), bytes(48)),
        "same-name-twice": _safetensors(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            bytes(4),
        ),
        "dtype-unknown": _safetensors(one(dtype="F13"), bytes(16)),
        "dtype-none": _safetensors(one(dtype=None), bytes(16)),
        "trailing": _safetensors(one(), bytes(100)),
        "key-long": _safetensors(one(name="a" * 100_000), bytes(16)),
        "key-hostile": _safetensors(one(name="<img src=x onerror=alert(1)>\x1b[2J.lora_A.weight"), bytes(16)),
        "key-path": _safetensors(one(name="../../../etc/passwd"), bytes(16)),
        "keys-many": _safetensors({f"k{index}": one((0,), (0, 0))[key] for index in range(20_000)}),
    }
    for dtype, width in _DTYPES.items():
        made[f"dtype-{dtype}"] = _safetensors(one((2, 2), (0, 4 * width), dtype), bytes(4 * width))
    for index in range(20):
        made[f"junk-{index}"] = bytes(rng.integers(0, 256, int(rng.integers(1, 400)), dtype=np.uint8))
    return made


def _with_tensors(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)

    return spoil


def _first(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    def changed(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        name = min(tensors)
        return tensors | {name: np.ascontiguousarray(change(tensors[name]))}

    return changed


def _put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def put(tensor: np.ndarray) -> np.ndarray:
        changed = tensor.copy()
        changed.flat[0] = value
        return changed

    return put


_TENSORS: dict[str, Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]] = {
    "nan": _first(_put(np.nan)),
    "infinite": _first(_put(np.inf)),
    "huge": _first(_put(3e38)),
    "double": _first(lambda tensor: tensor.astype(np.float64)),
    "whole": _first(lambda tensor: tensor.astype(np.int32)),
    "bool": _first(lambda tensor: tensor.astype(bool)),
    "turned": _first(lambda tensor: tensor.T),
    "flat": _first(lambda tensor: tensor.reshape(-1)),
    "empty": _first(lambda tensor: tensor[:0]),
    "wider": _first(lambda tensor: np.concatenate([tensor, tensor])),
    "one-left-out": lambda tensors: {name: each for name, each in tensors.items() if name != min(tensors)},
    "none": lambda tensors: {},
    "one-more": lambda tensors: tensors | {"base_model.model.lm_head.weight": np.zeros((3, 3), np.float32)},
    "of-the-base": lambda tensors: (
        tensors | {min(tensors).partition(".lora_")[0] + ".base_layer.weight": np.zeros((3, 3), np.float32)}
    ),
    "other-layers": lambda tensors: {name.replace("layers.0", "layers.99"): each for name, each in tensors.items()},
}


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _elsewhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _sparse(path: Path) -> None:
    os.truncate(path, 20 * 2**30)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _missing(path: Path) -> None:
    path.unlink()


def _socket(path: Path) -> None:
    import socket

    path.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        old = Path.cwd()
        os.chdir(path.parent)  # the name of a socket may have 108 bytes
        try:
            made.bind(path.name)
        finally:
            os.chdir(old)


_FILES = (_pipe, _device, _elsewhere, _itself, _dangling, _sparse, _directory, _missing, _socket)


def _on(spoil: Callable[[Path], None], name: str) -> Callable[[Path], None]:
    return lambda folder: spoil(folder / name)


def _pickle(name: str) -> Callable[[Path], None]:
    """A pickle in place of the weights, which would make a file if anybody opened it."""

    def spoil(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        (folder / name).write_bytes(b"cos\nsystem\n(S'touch " + os.fsencode(folder.parent / "owned") + b"'\ntR.")

    return spoil
