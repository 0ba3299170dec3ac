"""A photo as the model sees it: its size after the processor's resizing, its grid, its patches; it knows no words.

Size and grid come from upstream's own `smart_resize`, without touching a pixel. Patches are made when a vision tower
asks for them and held by nobody: 24 KiB per image token that nothing needs once the tower has read them.

Their values are those of upstream's PIL processor. Its default one resizes with torchvision: the same ids and grid,
pixels up to 2 of 255 levels apart, attention up to 1e-3 (measured in `test_the_default_processors_pixels.py`).
"""

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from inference.errors import ImageTooLargeError, ImageTooThinError, UnsupportedModelError
from inference.photo import Photo
from inference.recording import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ImageInput:
    """One image, ready for the vision tower.

    Attributes:
        photo: upright RGB.
        processor: the checkpoint's image processor (PIL backend).
        bounds: fewest and most pixels after resizing, as the processor takes them.
        grid_thw: `(1, patch_h, patch_w)`, the processor's `image_grid_thw` row.
        grid: image cells (grid_h, grid_w) = patch grid over merge size.
        resized: (height, width) in pixels that the model sees.
        limit: the bound on image tokens that reduced the image below the processor's own bound; None if none did.
    """

    photo: Photo
    processor: Any = field(repr=False)
    bounds: tuple[int, int]
    grid_thw: tuple[int, int, int]
    grid: tuple[int, int]
    resized: tuple[int, int]
    limit: int | None

    @property
    def tokens(self) -> int:
        """Number of image tokens, grid_h · grid_w."""
        return self.grid[0] * self.grid[1]

    @property
    def digest(self) -> str:
        """Names the patches: equal where photo and resized size are."""
        return hashlib.sha256(f"{self.photo.digest} {self.resized}".encode()).hexdigest()

    def patches(self) -> FloatArray:
        """What the vision tower reads, made anew: `(patches, channels · temporal · patch²)`, in merge-block order.

        Raises:
            UnsupportedModelError: the processor resizes otherwise than Qwen's.
        """
        fewest, most = self.bounds
        size = {"shortest_edge": fewest, "longest_edge": most}
        output = self.processor(images=[self.photo.to_pil()], size=size, return_tensors="np")
        grid_thw = tuple(output["image_grid_thw"][0].tolist())
        if grid_thw != self.grid_thw:
            raise UnsupportedModelError(f"The image processor gave the grid {grid_thw}; expected {self.grid_thw}.")
        return np.asarray(output["pixel_values"], dtype=np.float32)

    def note(self) -> str | None:
        """A sentence when our limit reduced the image, or the model sees less than half its pixels; else None."""
        (height, width), (seen_height, seen_width) = self.photo.size, self.resized
        if self.limit is None and seen_height * seen_width * 2 > height * width:
            return None
        factor = math.sqrt(height * width / (seen_height * seen_width))
        reason = f"The limit of {self.limit:,} image tokens is below the model's own. " if self.limit else ""
        return (
            f"{reason}The model sees the image reduced {factor:.1f} times in each direction, to {seen_width} × "
            f"{seen_height} pixels ({self.tokens:,} image tokens); smaller details are not visible to it."
        )


def read_image(photo: Photo, processor: Any, max_image_tokens: int) -> ImageInput:
    """Find out how the model will see a photo.

    Args:
        photo: upright RGB.
        processor: the checkpoint's image processor (PIL backend).
        max_image_tokens: most image tokens after the processor's resizing.

    Raises:
        ImageTooLargeError: more image tokens than that even after resizing, which happens to thin images.
        ImageTooThinError: an aspect ratio that Qwen's `smart_resize` refuses.
    """
    patch, merge = int(processor.patch_size), int(processor.merge_size)
    cell, (height, width) = patch * merge, photo.size
    ours, theirs = max_image_tokens * cell * cell, int(processor.size["longest_edge"])
    most = min(ours, theirs)
    bounds = min(int(processor.size["shortest_edge"]), most), most
    try:
        seen_height, seen_width = smart_resize(height, width, cell, *bounds)
    except ValueError as error:
        raise ImageTooThinError(
            f"The image is {width:,} × {height:,} pixels: its aspect ratio is beyond 200 : 1.", "Cut it."
        ) from error
    grid = seen_height // cell, seen_width // cell
    if grid[0] * grid[1] > max_image_tokens:
        raise ImageTooLargeError(
            f"The image becomes {grid[0] * grid[1]:,} image tokens; the limit is {max_image_tokens:,}. Its aspect "
            f"ratio ({width:,} × {height:,}) keeps the processor's resizing from bringing it below.",
            "Cut it to a less extreme shape, or raise the limit of image tokens.",
        )
    return ImageInput(
        photo=photo,
        processor=processor,
        bounds=bounds,
        grid_thw=(1, grid[0] * merge, grid[1] * merge),
        grid=grid,
        resized=(seen_height, seen_width),
        limit=max_image_tokens if min(height * width, theirs) > ours else None,
    )


def unblock(values: FloatArray, grid_thw: tuple[int, int, int], merge_size: int) -> FloatArray:
    """Bring patches from merge-block order to image order.

    Args:
        values: `(..., patches)` in the order `(grid_h, grid_w, merge, merge)` of Qwen's `patchify`.
        grid_thw: `(1, patch_h, patch_w)`.
        merge_size: patches per cell and side.

    Returns:
        `(..., patch_h, patch_w)`.
    """
    _, patch_h, patch_w = grid_thw
    lead = values.shape[:-1]
    # (..., grid_h, grid_w, merge, merge)
    blocked = values.reshape(*lead, patch_h // merge_size, patch_w // merge_size, merge_size, merge_size)
    rows = np.moveaxis(blocked, -2, -3)  # (..., grid_h, merge, grid_w, merge)
    return np.ascontiguousarray(rows.reshape(*lead, patch_h, patch_w))
