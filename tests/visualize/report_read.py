"""A report read back as a stranger would: by its elements, and its numbers undone step by step in plain Python."""

import base64
import json
import struct
import zlib
from html.parser import HTMLParser


class Page(HTMLParser):
    """A document's tags, attributes and the text inside each element that holds data."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.data, self._open = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br", "img"):
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, text):
        if self._open and self._open[-1][0] in ("script", "style"):
            self.data.append((*self._open[-1], text))
        elif text.strip():
            self.texts.append(text)

    def about(self):
        """The scene and the photo."""
        (text,) = [text for _, attributes, text in self.data if attributes.get("id") == "about"]
        return json.loads(text)

    def script(self):
        (text,) = [text for _, attributes, text in self.data if attributes.get("type") == "module"]
        return text

    def numbers(self, kind):
        """Key and base64 of the elements that hold `stack`s or `heads`, in order."""
        return {attributes[f"data-{kind}"]: text for _, attributes, text in self.data if f"data-{kind}" in attributes}


def inflated(text):
    return zlib.decompress(base64.b64decode(text, validate=True), -15)


def header_of(body):
    length = int.from_bytes(body[4:8], "little")
    return json.loads(body[8 : 8 + length]), 8 + length


def unpacked(content):
    """The body of raw deflate, value by value."""
    body = zlib.decompress(content, -15)
    header, start = header_of(body)
    cells, frames = header["grid"][0] * header["grid"][1], header["frames"]
    count = cells * frames
    panes = []
    for index, pane in enumerate(header["panes"]):
        block = body[start + 2 * count * index :][: 2 * count]
        bits = [high << 8 | low for high, low in zip(block[:count], block[count:], strict=True)]
        if pane["difference"]:
            later = next(at for at, other in enumerate(header["panes"]) if other["of"] == pane["of"])
            scales = pane["scales"], header["panes"][later]["scales"], header["panes"][0]["scales"]
            for at in range(count):
                own, second, first = (scale[at // cells] for scale in scales)
                change = _value(panes[later][at], second) - _value(panes[0][at], first)
                near = _rank(_half(change / own if own else 0.0))
                steps = bits[at] // 2 if bits[at] % 2 == 0 else -(bits[at] + 1) // 2
                bits[at] = _unrank(near + steps)
        panes.append(bits)
    return body[:start] + b"".join(struct.pack(f"<{count}H", *bits) for bits in panes)


def _value(bits, scale):
    return struct.unpack("<f", struct.pack("<f", struct.unpack("<e", struct.pack("<H", bits))[0] * scale))[0]


def _half(value):
    """The nearest float16 bits of a value between normal ones, halves away from 0."""
    whole = struct.unpack("<I", struct.pack("<f", value))[0]
    sign, rest = whole >> 31, whole & 0x7FFFFFFF
    return sign << 15 | min(max(((rest + 0x1000) >> 13) - 0x1C000, 0), 0x7BFF)


def _rank(bits):
    return 0xFFFF - bits if bits >= 0x8000 else bits + 0x8000


def _unrank(rank):
    rank %= 0x10000
    return rank - 0x8000 if rank >= 0x8000 else 0xFFFF - rank
