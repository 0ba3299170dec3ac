"""Whether a picture holds a text, a picture or a mark exactly where it should: drawn once more, another way."""

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from visualize.pictures.typeface import typeface

INK, SOFT, PAPER = (32, 33, 36), (95, 99, 104), (255, 255, 255)


def holds_text(picture, corner, text, *, size=14, bold=False, fill=INK, anchor="la"):
    """Whether a line of text stands exactly there, on white."""
    canvas = Image.new("RGB", picture.size, PAPER)
    ImageDraw.Draw(canvas).text(corner, text, font=typeface(size, bold=bold), fill=fill, anchor=anchor)
    box = ImageChops.difference(canvas, Image.new("RGB", picture.size, PAPER)).getbbox()
    return box is not None and canvas.crop(box).tobytes() == picture.crop(box).tobytes()


def holds_picture(picture, corner, part):
    """Whether another picture is pasted exactly there."""
    left, top = corner
    return picture.crop((left, top, left + part.width, top + part.height)).tobytes() == part.tobytes()


def stamped(picture, centre, lines, radius, unit, fine=8):
    """A picture with lines (x0, y0, x1, y1 from the centre) and a circle on it: white 1.6 on black 3.6 units wide.

    Each pixel is the mean of `fine` × `fine` points, and a point is in a shape by its distance from it.
    """
    reach = math.ceil(max([radius, *(abs(end) for line in lines for end in line)]) + 3 * unit) + 1
    top, left = (max(math.floor(place) - reach, 0) for place in centre)
    part = picture[top : math.floor(centre[0]) + reach, left : math.floor(centre[1]) + reach]
    height, width = part.shape[:2]
    y = ((np.arange(height * fine) + 0.5) / fine + top - centre[0])[:, None]
    x = ((np.arange(width * fine) + 0.5) / fine + left - centre[1])[None, :]

    def inside(pen):
        found = np.abs(np.hypot(y, x) - radius) <= pen / 2 if radius else np.zeros((y.size, x.size), bool)
        for x0, y0, x1, y1 in lines:
            length = math.hypot(x1 - x0, y1 - y0)
            along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
            across = ((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length
            found |= (np.abs(across) <= pen / 2) & (along >= 0) & (along <= length)
        return found

    black, white = inside(3.6 * unit), inside(1.6 * unit)
    alpha = np.where(white, 1.0, np.where(black, 190 / 255, 0.0))
    share = alpha.reshape(height, fine, width, fine).mean(axis=(1, 3))[..., None]
    painted = np.where(white, 255.0, 0.0).reshape(height, fine, width, fine).mean(axis=(1, 3))[..., None]
    result = picture.copy()
    result[top : top + height, left : left + width] = part * (1 - share) + painted
    return result
