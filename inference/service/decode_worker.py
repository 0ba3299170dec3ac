"""A process that decodes strangers' pictures and nothing else: `Decoder` starts it, bounds it, and ends it.

It reads a length (8 bytes, big-endian) and a file from its standard input, as often as they come, and answers each with
a line of JSON: a photo's `size`, `original_size` and `notes`, after which its pixels follow, or an `error`'s class with
its `message` and `hint`. Nothing of the server is in its memory or its environment.
"""

import json
import struct
import sys
from typing import Any, BinaryIO

from inference.errors import ImageError, ImageStructureError
from inference.photo import decode_photo
from inference.settings import Limits

LENGTH = struct.Struct(">Q")


def main() -> None:
    """Decode until the standard input ends; takes memory in bytes and the limits as JSON from the command line."""
    memory, limits = int(sys.argv[1]), Limits(**json.loads(sys.argv[2]))
    _bound(memory)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(LENGTH.size):
        _answer(source.read(LENGTH.unpack(head)[0]), limits, target)
        target.flush()


def _answer(content: bytes, limits: Limits, target: BinaryIO) -> None:
    try:
        photo = decode_photo(content, limits)
    except ImageError as error:
        _say(target, _refused(error))
    except MemoryError:
        _say(target, _refused(too_much("memory")))
    else:
        _say(target, {"size": photo.size, "original_size": photo.original_size, "notes": photo.notes})
        target.write(photo.pixels.data)


def _refused(error: ImageError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def _say(target: BinaryIO, head: dict[str, Any]) -> None:
    target.write(json.dumps(head).encode() + b"\n")


def too_much(what: str) -> ImageStructureError:
    """What a person is told whose picture took more time or memory (`what`) than one is given."""
    return ImageStructureError(
        f"The image takes more {what} to decode than one is given here.", "Save it again as PNG or JPEG, or smaller."
    )


def _bound(memory: int) -> None:
    """Have the system refuse more memory, files that grow, and files that are opened; where it can (Linux)."""
    try:
        import resource
    except ImportError:  # Windows: the time alone is bounded
        return
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main()
