"""The text that each token adds, byte by byte; it knows no roles, rows or templates.

A byte-level token is some bytes of UTF-8, perhaps half a character. Decoding text and looking for U+FFFD at its end
cannot tell half a character from a U+FFFD that somebody wrote; the bytes can.
"""

import codecs
from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import ByteLevel

from inference.errors import UnsupportedModelError


class PieceDecoder:
    """Decodes a growing sequence: `add` returns the text that each id adds, empty while a character is incomplete.

    Args:
        tokenizer: a (fast) byte-level tokenizer, as Qwen's is.

    Raises:
        UnsupportedModelError: it decodes otherwise.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        if not isinstance(tokenizer.backend_tokenizer.decoder, ByteLevel):
            raise UnsupportedModelError("The checkpoint's tokenizer is not byte-level, as Qwen's is.")
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, token: int) -> str:
        """Text added by `token`; an invalid byte gives a U+FFFD as soon as it cannot become a character any more."""
        return self._text.decode(_token_bytes(self._tokenizer, token))

    def flush(self) -> str:
        """What is left at the end: a U+FFFD if a character stayed incomplete."""
        left = self._text.decode(b"", final=True)
        self._text.reset()
        return left


def decode_pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text each id adds; pieces joined give the decoded text."""
    decoder = PieceDecoder(tokenizer)
    pieces = [decoder.add(int(token)) for token in ids]
    if pieces:
        pieces[-1] += decoder.flush()
    return pieces


def token_text(tokenizer: Any, token: int) -> str:
    """One token by itself: its text, and bytes that are no whole characters as `\\xe5`, so that two stay apart."""
    return _token_bytes(tokenizer, token).decode(errors="backslashreplace")


def _token_bytes(tokenizer: Any, token: int) -> bytes:
    written = tokenizer.convert_ids_to_tokens(token)
    if written is None:  # a row of the embedding without a string
        return b""
    if all(letter in _BYTES for letter in written):
        return bytes(_BYTES[letter] for letter in written)
    return str(written).encode()  # an added token: its own text


def _byte_alphabet() -> dict[str, int]:
    """Byte of each letter that byte-level tokens are written in: printable Latin-1 itself, the rest from U+0100 on.

    GPT-2's `bytes_to_unicode`, as `tokenizers`' ByteLevel has it.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_alphabet()
