"""Pictures of strangers are decoded in processes that are bounded and ended; what comes back is what was in them."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.errors import CancelledError, ImageError, ImageStructureError, ImageTooLargeError, NotAnImageError
from inference.photo import decode_photo
from inference.service import decoder as room
from inference.service.decoder import Decoder
from inference.settings import Limits
from tests import ROOT
from tests.conftest import picture, wait_until
from tests.hostile_images import jpeg_scans, png
from tests.inference.test_photo import _exif, saved

SMALL = saved(picture(24, 40), "PNG")


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(Limits())
    yield decoder
    decoder.close()


@pytest.mark.parametrize(
    "content",
    [
        *(saved(picture(60, 90), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")),
        saved(picture(60, 90), "JPEG", exif=_exif(6)),
        saved(Image.fromarray(np.arange(6_000, dtype=np.uint16).reshape(60, 100)), "PNG"),
        saved(Image.fromarray(np.linspace(-1, 1, 6_000, dtype=np.float32).reshape(60, 100)), "TIFF"),
        saved(picture(60, 90).convert("RGBA"), "PNG"),
        saved(picture(60, 90), "GIF", save_all=True, append_images=[picture(60, 90, seed=1)]),
    ],
    ids=lambda content: f"{len(content)} bytes",
)
def test_what_comes_back_is_what_the_same_file_gives_here(decoder: Decoder, content: bytes):
    photo, here = decoder.decode(content), decode_photo(content, Limits())
    assert np.array_equal(photo.pixels, here.pixels)
    assert photo == here  # notes and original size, too
    assert not photo.pixels.flags.writeable


@pytest.mark.parametrize(
    ("content", "limits"),
    [
        (b"", Limits()),
        (b"hello", Limits()),
        (SMALL[:-30], Limits()),
        (SMALL, Limits(max_upload_bytes=100)),
        (SMALL, Limits(max_pixels=100)),
        (saved(picture(1, 300)), Limits()),
        (png(30_000), Limits()),
    ],
)
def test_what_is_refused_there_is_refused_here_with_the_same_words(content: bytes, limits: Limits):
    decoder = Decoder(limits)
    with pytest.raises(ImageError) as there:
        decoder.decode(content)
    with pytest.raises(ImageError) as here:
        decode_photo(content, limits)
    assert (type(there.value), there.value.args) == (type(here.value), here.value.args)
    (process,) = decoder.idle  # a refusal is no reason to end it
    decoder.close()
    assert process.poll() is not None


def test_one_process_decodes_many_and_leaves_after_a_large_one(decoder: Decoder, monkeypatch: pytest.MonkeyPatch):
    decoder.warm()
    (first,) = decoder.idle
    for seed in range(3):
        decoder.decode(saved(picture(20, 30, seed)))
    assert decoder.idle == (first,)
    monkeypatch.setattr(room, "LARGE", 24 * 40 - 1)
    decoder.decode(SMALL)
    assert decoder.idle == ()
    assert first.poll() is not None


def test_what_takes_too_long_is_ended_and_the_next_picture_is_right(monkeypatch: pytest.MonkeyPatch):
    decoder = Decoder(Limits(decode_seconds=0.5))
    decoder.warm()
    (process,) = decoder.idle
    monkeypatch.setattr(room, "PATIENCE", 0.0)
    with pytest.raises(ImageStructureError, match="more time to decode") as refused:
        decoder.decode(jpeg_scans(50, (8_000, 8_000)))
    assert refused.value.hint
    assert process.poll() is not None
    monkeypatch.setattr(room, "PATIENCE", 60.0)
    assert decoder.decode(SMALL).size == (24, 40)
    decoder.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")
def test_what_takes_too_much_memory_is_refused_and_the_next_picture_is_right(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "BYTES_PER_PIXEL", 0)
    monkeypatch.setattr(room, "OWN_BYTES", 300 * 2**20)
    decoder = Decoder(Limits())
    large = saved(Image.new("RGB", (8_000, 8_000), (1, 2, 3)), "PNG", compress_level=1)  # 192 MB each time
    with pytest.raises(ImageStructureError, match="more memory to decode"):
        decoder.decode(large)
    assert decoder.decode(SMALL).size == (24, 40)
    decoder.close()


def test_whoever_left_is_waited_for_no_longer(decoder: Decoder):
    decoder.warm()
    (process,) = decoder.idle
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(CancelledError):
        decoder.decode(jpeg_scans(50, (8_000, 8_000)), stop)
    assert process.poll() is not None
    assert decoder.decode(SMALL).size == (24, 40)


def test_a_process_that_is_gone_is_replaced(decoder: Decoder):
    decoder.warm()
    (process,) = decoder.idle
    process.kill()
    process.wait()
    assert decoder.decode(SMALL).size == (24, 40)


def test_a_process_that_breaks_over_a_picture_says_no_more_than_that():
    decoder = Decoder(Limits(), ("-c", "import os; os.abort()"))
    with pytest.raises(ImageStructureError, match="broke off over it"):
        decoder.decode(SMALL)
    assert decoder.idle == ()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"no json\n",
        b"[]\n",
        b"{}\n",
        b'{"error": "OSError", "message": "", "hint": ""}\n',
        b'{"error": "BusyError", "message": "", "hint": ""}\n',
        b'{"size": [2, 2], "original_size": [2, 2], "notes": []}\n123',
        b'{"size": [100000, 100000], "original_size": [2, 2], "notes": []}\n',
        b'{"size": [-2, -2], "original_size": [2, 2], "notes": []}\n123456789012',
        b'{"size": [2], "original_size": [2, 2], "notes": []}\n',
        b'{"size": ["2", 2], "original_size": [2, 2], "notes": []}\n',
        b"a" * 100_000,
    ],
)
def test_nothing_that_a_process_says_is_trusted(said: bytes):
    lie = f"import sys; sys.stdin.buffer.read(8); sys.stdout.buffer.write({said!r})"
    decoder = Decoder(Limits(), ("-c", lie))
    with pytest.raises(ImageStructureError, match="broke off over it"):
        decoder.decode(SMALL)
    assert decoder.idle == ()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc here")
def test_no_secret_is_where_pictures_are_decoded(decoder: Decoder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-secret")
    decoder.warm()
    (process,) = decoder.idle
    of_process = Path(f"/proc/{process.pid}/environ")
    wait_until(lambda: bool(of_process.read_bytes()))  # empty while the kernel still sets the new program up
    environment = of_process.read_bytes()
    assert b"PYTHONPATH" in environment
    assert b"secret" not in environment


@pytest.mark.skipif(not Path("/proc").exists(), reason="no /proc here")
def test_processes_leave_with_the_server_however_it_ends():
    server = """
import time
from inference.service.decoder import Decoder
from inference.settings import Limits
decoder = Decoder(Limits())
decoder.warm()
print(decoder.idle[0].pid, flush=True)
time.sleep(600)
"""
    command, environment = [sys.executable, "-c", server], os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = Path(f"/proc/{int(process.stdout.readline())}/stat")
        process.kill()
    wait_until(lambda: not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_truncated_file_is_said_to_be_one(decoder: Decoder):
    content = saved(picture(64, 96), "JPEG")
    with pytest.raises(NotAnImageError, match="cut short"):
        decoder.decode(content[: len(content) * 2 // 3])
    with pytest.raises(ImageTooLargeError):
        decoder.decode(b"x" * (Limits().max_upload_bytes + 1))
    assert decoder.decode(content).size == (64, 96)
