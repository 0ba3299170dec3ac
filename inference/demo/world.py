"""The drawn world of the embedded model: scenes whose every object and box is known.

A scene shows one to four objects, each a colour and a shape, on a dark, noisy, cluttered background. No two objects of
a scene share a colour or a shape, so "the red object" and "the circle" name at most one object each, and one object is
clearly the largest (its box has at least `LARGEST_RATIO` times the area of the next). Because the boxes are facts,
where an adapter should look can be scored instead of judged by eye.

This file decides what a scene looks like and what is asked about it. It must not know the model, its tokenizer or its
image grid: only numpy and pillow.

Every random choice is an integer or a plain uniform number of numpy's PCG64 generator, and shapes are drawn from
integer corners, so that a seed means the same picture on every platform.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from inference.demo.shapes import shape_mask

#: `(top, left, bottom, right)` in pixels, half-open: rows `top … bottom − 1`, columns `left … right − 1`.
Box = tuple[int, int, int, int]

#: What a question asks for. The world knows where things are, but "where" is not among the embedded model's lessons.
Kind = Literal["describe", "shape", "colour", "where"]

#: Colour word to its RGB centre (0–255); a drawn object strays up to `_COLOUR_JITTER` from it in each channel.
COLOURS: Final[Mapping[str, tuple[int, int, int]]] = MappingProxyType(
    {
        "red": (214, 40, 44),
        "orange": (240, 136, 34),
        "pink": (243, 138, 186),
        "yellow": (240, 220, 60),
        "green": (52, 178, 76),
        "blue": (58, 104, 232),
    }
)

#: Shape words. A ring is a circle with a hole: the look-alike that keeps "circle" from being easy.
SHAPES: Final = ("circle", "ring", "square", "triangle", "star", "cross")

MAX_OBJECTS: Final = 4
#: Shortest image side, in pixels, in which four objects of `MIN_OBJECT_SIDE` always find room.
MIN_SIDE: Final = 128
#: Longer side of the smallest object, in pixels of the drawn image.
MIN_OBJECT_SIDE: Final = 28
#: The largest object's box has at least this many times the area of the second largest.
LARGEST_RATIO: Final = 1.35

#: Ways to ask each kind of question; the first is the one that evaluations use.
PROMPTS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        "describe": (
            "Describe the image.",
            "Describe this image.",
            "Describe the picture.",
            "What do you see?",
            "What is in the image?",
        ),
        "shape": (
            "What shape is the {colour} object?",
            "What is the shape of the {colour} object?",
            "Which shape is {colour}?",
        ),
        "colour": (
            "What colour is the {shape}?",
            "What color is the {shape}?",
            "Which colour does the {shape} have?",
        ),
        "where": ("Where is the {shape}?", "Where is the {colour} object?"),
    }
)

_COLOUR_JITTER: Final = 16
_GAP: Final = 5  # pixels between the boxes of two objects
_PLACEMENT_TRIES: Final = 40
_LAYOUT_TRIES: Final = 60
_SHRINK: Final = 0.94

_Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One drawn object.

    Attributes:
        colour: one of `COLOURS`.
        shape: one of `SHAPES`.
        box: the tight box of every pixel that the object touches, `(top, left, bottom, right)`, half-open, in pixels.
    """

    colour: str
    shape: str
    box: Box

    @property
    def name(self) -> str:
        """Colour and shape as the model says them, e.g. `"red circle"`."""
        return f"{self.colour} {self.shape}"

    @property
    def area(self) -> int:
        """Area of the box in pixels."""
        top, left, bottom, right = self.box
        return (bottom - top) * (right - left)


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn image and the truth about it.

    Attributes:
        image: RGB picture.
        objects: the objects in the order in which they were drawn; their boxes do not overlap.
    """

    image: Image.Image
    objects: tuple[SceneObject, ...]

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` in pixels."""
        return self.image.height, self.image.width

    @property
    def largest(self) -> SceneObject:
        """The object with the largest box."""
        return max(self.objects, key=lambda item: item.area)

    def find(self, word: str) -> SceneObject:
        """The one object that a colour or shape word names.

        Args:
            word: one of `COLOURS` or `SHAPES`.

        Raises:
            KeyError: no object of this scene has that colour or shape.
        """
        for item in self.objects:
            if word in (item.colour, item.shape):
                return item
        raise KeyError(f"no object of this scene is {word!r}; it shows {', '.join(item.name for item in self.objects)}")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a scene, its true answer and the object that the answer is about."""

    kind: Kind
    prompt: str
    answer: str
    about: SceneObject


def scene(
    seed: int,
    objects: int = 3,
    size: tuple[int, int] = (224, 224),
    must_have: Sequence[str] = (),
) -> Scene:
    """Draw one scene; the same arguments always draw the same one.

    Args:
        seed: non-negative seed.
        objects: how many objects, 1 to `MAX_OBJECTS`.
        size: `(height, width)` in pixels, each at least `MIN_SIDE`.
        must_have: colour and shape words that the scene must show; `("red", "circle")` gives exactly one red object
            and exactly one circle, which may be the same object.

    Raises:
        ValueError: an argument is out of range, a word is unknown or repeated, or there are more words than objects.
    """
    height, width = size
    colours, shapes = _checked_words(seed, objects, size, must_have)
    rng = np.random.default_rng([seed, objects, height, width])
    names = list(zip(_fill(rng, colours, tuple(COLOURS), objects), _fill(rng, shapes, SHAPES, objects), strict=True))
    masks = _layout(rng, [shape for _, shape in names], height, width)

    pixels = _background(rng, height, width)
    drawn = []
    for (colour, shape), (top, left, mask) in zip(names, masks, strict=True):
        rows, columns = mask.shape
        area = pixels[top : top + rows, left : left + columns]
        area += mask[:, :, None] * (_paint(rng, colour, rows, columns) - area)
        drawn.append(SceneObject(colour, shape, (top, left, top + rows, left + columns)))
    pixels += _grain(rng, height, width)
    np.clip(pixels + np.float32(0.5), 0, 255, out=pixels)
    image = Image.fromarray(pixels.astype(np.uint8))
    return Scene(image, tuple(drawn))


def questions(of: Scene, kinds: Sequence[Kind] = ("describe", "shape", "colour", "where")) -> tuple[Question, ...]:
    """Everything that can be asked about a scene, with its true answers, in the first wording of each kind.

    `describe` asks once and is answered with the name of the largest object; the other kinds ask about every object.

    Args:
        of: the scene.
        kinds: the kinds to ask, in this order.
    """
    asked = []
    for kind in kinds:
        for item in (of.largest,) if kind == "describe" else of.objects:
            asked.append(ask(of, kind, item))
    return tuple(asked)


def ask(of: Scene, kind: Kind, about: SceneObject, wording: int = 0) -> Question:
    """One question about one object.

    Args:
        of: the scene that shows the object.
        kind: what is asked. `describe` is answered with the name of `about`, whichever object that is: an adapter
            may be taught to name another one than the largest.
        about: the object.
        wording: index into `PROMPTS[kind]`.
    """
    prompt = PROMPTS[kind][wording].format(colour=about.colour, shape=about.shape)
    return Question(kind, prompt, _answer(of, kind, about), about)


def centre_in_thousandths(of: Scene, item: SceneObject) -> tuple[int, int]:
    """The middle of an object's box as `(x, y)`, each 0–1000 of width and height as in Qwen3-VL, rounded to tens."""
    top, left, bottom, right = item.box
    height, width = of.size
    return 10 * round(50 * (left + right) / width), 10 * round(50 * (top + bottom) / height)


def _answer(of: Scene, kind: Kind, about: SceneObject) -> str:
    match kind:
        case "describe":
            return about.name
        case "shape":
            return about.shape
        case "colour":
            return about.colour
        case "where":
            x, y = centre_in_thousandths(of, about)
            return f"{x}, {y}"


def _checked_words(
    seed: int, objects: int, size: tuple[int, int], must_have: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Split `must_have` into colours and shapes after checking every argument of `scene`."""
    if seed < 0:
        raise ValueError(f"seed must be 0 or more; got {seed}")
    if not 1 <= objects <= MAX_OBJECTS:
        raise ValueError(f"objects must be 1 to {MAX_OBJECTS}; got {objects}")
    if min(size) < MIN_SIDE:
        raise ValueError(f"size is (height, width) in pixels, each at least {MIN_SIDE}; got {size}")
    if isinstance(must_have, str):
        raise ValueError(f"must_have is a sequence of words, such as ({must_have!r},); got the string {must_have!r}")
    unknown = [word for word in must_have if word not in COLOURS and word not in SHAPES]
    if unknown:
        raise ValueError(f"must_have knows the words {', '.join((*COLOURS, *SHAPES))}; got {unknown[0]!r}")
    if len(set(must_have)) < len(must_have):
        raise ValueError(f"must_have names each word once; got {tuple(must_have)}")
    colours = [word for word in must_have if word in COLOURS]
    shapes = [word for word in must_have if word in SHAPES]
    if max(len(colours), len(shapes)) > objects:
        raise ValueError(
            f"{objects} object(s) cannot show all of {tuple(must_have)}: each has one colour and one shape"
        )
    return colours, shapes


def _fill(rng: np.random.Generator, wanted: list[str], words: tuple[str, ...], count: int) -> list[str]:
    """`count` different words in random order, the wanted ones among them."""
    others = [word for word in words if word not in wanted]
    picked = [others[index] for index in rng.permutation(len(others))[: count - len(wanted)]]
    pool = wanted + picked
    return [pool[index] for index in rng.permutation(count)]


def _layout(
    rng: np.random.Generator, shapes: list[str], height: int, width: int
) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Choose sizes and places: `(top, left, mask)` per shape, masks cut to their boxes, values 0–1.

    Objects shrink a little after each layout that finds no room, so the search ends.
    """
    shorter = min(height, width)
    biggest = int(rng.integers(len(shapes)))
    scale = 1.0
    for _ in range(_LAYOUT_TRIES):
        side = max(MIN_OBJECT_SIDE * 1.45, shorter * (0.28 + 0.18 * rng.random()) * scale)
        limit = max(float(MIN_OBJECT_SIDE), side * 0.84 * scale)
        masks = []
        for index, shape in enumerate(shapes):
            small = MIN_OBJECT_SIDE * (limit / MIN_OBJECT_SIDE) ** rng.random()  # log-uniform: many small ones
            masks.append(shape_mask(rng, shape, side if index == biggest else small))
        areas = [mask.shape[0] * mask.shape[1] for mask in masks]
        second = max((area for index, area in enumerate(areas) if index != biggest), default=0)
        scale *= _SHRINK
        if areas[biggest] < LARGEST_RATIO * second:
            continue
        places = _places(rng, [mask.shape for mask in masks], height, width)
        if places is not None:
            return [(top, left, mask) for (top, left), mask in zip(places, masks, strict=True)]
    raise AssertionError(f"no layout for {shapes} in {height} x {width}")


def _places(
    rng: np.random.Generator, sizes: list[tuple[int, int]], height: int, width: int
) -> list[tuple[int, int]] | None:
    """Top-left corners such that no two boxes come nearer than `_GAP`, or None where luck ran out."""
    boxes: dict[int, Box] = {}
    for index in sorted(range(len(sizes)), key=lambda one: -sizes[one][0] * sizes[one][1]):
        rows, columns = sizes[index]
        for _ in range(_PLACEMENT_TRIES):
            top = int(rng.integers(1, height - rows))
            left = int(rng.integers(1, width - columns))
            if all(_apart((top, left, top + rows, left + columns), other) for other in boxes.values()):
                boxes[index] = (top, left, top + rows, left + columns)
                break
        else:
            return None
    return [boxes[index][:2] for index in range(len(sizes))]


def _apart(one: Box, other: Box) -> bool:
    """Whether at least `_GAP` empty rows or columns lie between two boxes."""
    vertical = max(one[0] - other[2], other[0] - one[2])
    horizontal = max(one[1] - other[3], other[1] - one[3])
    return max(vertical, horizontal) >= _GAP


def _paint(rng: np.random.Generator, colour: str, rows: int, columns: int) -> _Pixels:
    """An object's own surface: its strayed colour, a soft light from one side. `(rows, columns, 3)`, 0–255."""
    centre = np.array(COLOURS[colour], dtype=np.float32) + rng.integers(-_COLOUR_JITTER, _COLOUR_JITTER + 1, 3)
    lit = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] * np.float32(rng.random() - 0.5)
    lit = lit + np.linspace(-1, 1, columns, dtype=np.float32)[None, :] * np.float32(rng.random() - 0.5)
    return np.asarray(centre[None, None, :] * (1 + 0.16 * lit[:, :, None]), dtype=np.float32)


def _background(rng: np.random.Generator, height: int, width: int) -> _Pixels:
    """Dark ground with blotches, sometimes stripes, and clutter too small to be an object. `(height, width, 3)`."""
    ground = rng.integers(28, 62, 3).astype(np.int16)
    cell = int(rng.integers(6, 25))
    blotches = rng.integers(-14, 15, (-(-height // cell), -(-width // cell))).astype(np.int16)
    texture = np.repeat(np.repeat(blotches, cell, axis=0), cell, axis=1)[:height, :width]
    if rng.integers(3) == 0:
        period = int(rng.integers(7, 22))
        slant = np.int16(rng.integers(0, 2))
        along = np.arange(height, dtype=np.int16)[:, None] + np.arange(width, dtype=np.int16)[None, :] * slant
        texture = texture + np.where(along % period < period // 2, np.int16(9), np.int16(-5))
    canvas = Image.fromarray((ground + texture[:, :, None]).astype(np.uint8))  # 28 − 14 − 5 … 61 + 14 + 9: in range
    _clutter(rng, ImageDraw.Draw(canvas), height, width)
    return np.array(canvas, dtype=np.float32)


def _clutter(rng: np.random.Generator, draw: ImageDraw.ImageDraw, height: int, width: int) -> None:
    """Thin lines and specks, some in the muted colours of real objects: what a careless map would fall for."""
    tints = list(COLOURS.values())
    for _ in range(int(rng.integers(3, 9))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        to_x, to_y = x + int(rng.integers(-60, 61)), y + int(rng.integers(-60, 61))
        grey = int(rng.integers(50, 110))
        draw.line((x, y, to_x, to_y), fill=(grey, grey, grey), width=int(rng.integers(1, 3)))
    for _ in range(int(rng.integers(6, 22))):
        x, y, side = int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(2, 7))
        red, green, blue = tints[int(rng.integers(len(tints)))]
        dim = 3 + int(rng.integers(5))  # tenths of full brightness
        draw.ellipse((x, y, x + side, y + side), fill=(red * dim // 10, green * dim // 10, blue * dim // 10))


def _grain(rng: np.random.Generator, height: int, width: int) -> _Pixels:
    """Camera-like noise in brightness, its strength drawn per scene, from two uniform bytes. `(height, width, 1)`."""
    strength = np.float32(4 + 12 * rng.random())
    first, second = rng.integers(0, 256, (2, height, width), dtype=np.uint8).astype(np.float32)
    noise: _Pixels = (first + second - 255) * (strength / 104)  # 104: standard deviation of the sum of two bytes
    return noise[:, :, None]
