"""What a batch costs: one forward pass of the model over packed branches, and the losses that a stage adds up.

It must not know how batches are made, nor what an optimizer does with the gradient.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from inference.demo.training.checkpoint import MERGE_SIZE
from inference.demo.training.curriculum import Stage
from inference.demo.training.packing import IGNORED, Packed, Packer
from inference.demo.world import COLOURS


@dataclass(frozen=True, slots=True)
class VisionFeatures:
    """What the vision tower makes of a batch: `(B * C, width)` each.

    Attributes:
        merged: the features that stand in for the image tokens.
        deepstack: the ones added to them in the first language layers.
    """

    merged: Tensor
    deepstack: tuple[Tensor, ...]


def loss(core: Qwen3VLForConditionalGeneration, batch: Packed, packer: Packer, stage: Stage) -> Tensor:
    """The stage's loss on one batch: cross-entropy of the answers plus the weighted auxiliary loss.

    Args:
        core: the model, prepared by `quicken`; adapters that PEFT put into it are part of it.
        batch: on the model's device.
        packer: whose word ids the auxiliary loss reads.
        stage: gives the weights.
    """
    vision = vision_features(core, batch)
    total = batch.patches.new_zeros(())
    if stage.naming:
        total = total + stage.naming * _naming_loss(core, vision.merged, batch, packer)
    if stage.screens is not None and stage.screens.places:
        total = total + stage.screens.places * _places_loss(core, vision.merged, batch, packer)
    weights = batch.weights[batch.labels != IGNORED]
    if len(weights):
        logits, wanted = answer_logits(core, vision, batch)
        each = functional.cross_entropy(logits, wanted, reduction="none")
        total = total + (each * weights).sum() / weights.sum()
    return total


def vision_features(core: Qwen3VLForConditionalGeneration, batch: Packed) -> VisionFeatures:
    """Run the vision tower, prepared by `quicken`, on a whole batch at once."""
    patches = batch.patches.shape[0]
    features = core.model.visual(
        batch.patches,
        grid_thw=batch.grid_thw,
        cu_seqlens=torch.tensor([0, patches], dtype=torch.int32, device=batch.patches.device),
        patches_per_image=patches // batch.grid_thw.shape[0],
    )
    return VisionFeatures(features.pooler_output, tuple(features.deepstack_features))


def answer_logits(
    core: Qwen3VLForConditionalGeneration, vision: VisionFeatures, batch: Packed
) -> tuple[Tensor, Tensor]:
    """Logits of every learned token and the ids they should name: `(learned, vocabulary)` and `(learned,)`."""
    counts = (batch.grid_thw.prod(-1) // MERGE_SIZE**2).tolist()
    split: Any = BaseModelOutputWithDeepstackFeatures()  # its fields are annotated otherwise than they are used
    split.pooler_output = torch.split(vision.merged, counts)
    split.deepstack_features = [torch.split(part, counts) for part in vision.deepstack]
    hidden = core.model(
        input_ids=batch.ids,
        position_ids=batch.position_ids,
        attention_mask=_branch_mask(batch.segment),
        mm_encoder_outputs={"image": split},
        use_cache=False,
    ).last_hidden_state
    learned = batch.labels[:, 1:] != IGNORED
    return core.lm_head(hidden[:, :-1][learned]), batch.labels[:, 1:][learned]


def quicken(core: Qwen3VLForConditionalGeneration) -> None:
    """Make the model's training steps faster without changing what it computes.

    Vision attention over equally large images becomes one batched call, and the patch embedding, a convolution whose
    stride is its kernel, the matrix product that it is (its backward pass is ten times faster on a CPU).
    """
    core.model.visual.patch_embed.proj.__class__ = _ConvolutionAsProduct
    AttentionInterface.register("equal_images", _equal_images_attention)
    core.set_attn_implementation({"text_config": "sdpa", "vision_config": "equal_images"})


class _ConvolutionAsProduct(nn.Conv3d):
    """A convolution of exactly one kernel's size, computed as a matrix product with the same parameters."""

    def forward(self, input: Tensor) -> Tensor:
        product = functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return product[:, :, None, None, None]


def _branch_mask(segment: Tensor) -> Tensor:
    """`(B, 1, S, S)` boolean: a token sees earlier tokens of the prefix and of its own branch."""
    length = segment.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    related = (segment[:, None, :] == 0) | (segment[:, :, None] == segment[:, None, :])
    return (related & earlier)[:, None]


def _naming_loss(core: Qwen3VLForConditionalGeneration, features: Tensor, batch: Packed, packer: Packer) -> Tensor:
    """Each image token, normalised and read through the word embedding, names the colour and shape in its cell.

    Args:
        core: whose final norm and tied embedding are used.
        features: `(B * C, width)`, the vision tower's merged features.
        batch: the truth per cell.
        packer: the ids of the words.
    """
    normed = core.model.language_model.norm(features)
    total = features.new_zeros(())
    for words, truth in ((packer.colour_ids, batch.cell_colours), (packer.shape_ids, batch.cell_shapes)):
        wanted = truth.reshape(-1)
        scores = normed @ core.lm_head.weight[list(words)].T
        weight = scores.new_ones(len(words))
        weight[-1] = 0.15  # most cells show nothing
        total = total + functional.cross_entropy(scores, wanted, weight=weight)
    return total


def _places_loss(core: Qwen3VLForConditionalGeneration, features: Tensor, batch: Packed, packer: Packer) -> Tensor:
    """Each image token, normalised and read through the embedding of the digits, says where the thing in its cell is.

    The first digit of x is read from the channels as they are, the first digit of y from the channels rolled by half:
    two places of one vector for two numbers of the same ten words, and no weights that are thrown away later.

    Args:
        core: whose final norm and tied embedding are used.
        features: `(B * C, width)`, the vision tower's merged features.
        batch: the truth per cell.
        packer: the ids of the digits.
    """
    normed = core.model.language_model.norm(features)
    digits = core.lm_head.weight[list(packer.digit_ids)]
    wanted = batch.cell_places.reshape(-1, 2)
    # most cells show nothing
    weights = torch.where(batch.cell_colours.reshape(-1) == len(COLOURS), 0.15, 1.0)
    across = functional.cross_entropy(normed @ digits.T, wanted[:, 0], reduction="none")
    down = functional.cross_entropy(
        normed.roll(normed.shape[1] // 2, dims=1) @ digits.T, wanted[:, 1], reduction="none"
    )
    return ((across + down) * weights).sum() / weights.sum()


def _equal_images_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    patches_per_image: int,
    **_: object,
) -> tuple[Tensor, None]:
    """Vision attention over images of one size as one batched call: `(1, heads, images * patches, dim)` each."""
    del module, attention_mask

    def apart(tensor: Tensor) -> Tensor:
        heads, dim = tensor.shape[1], tensor.shape[3]
        return tensor.reshape(heads, -1, patches_per_image, dim).transpose(0, 1)

    mixed = functional.scaled_dot_product_attention(apart(query), apart(key), apart(value), scale=scaling)
    images, heads, patches, dim = mixed.shape
    return mixed.transpose(1, 2).reshape(1, images * patches, heads, dim), None
