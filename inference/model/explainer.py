"""Answers questions about a change: checks, each variant's reading of the image, then the question's own replays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from inference.errors import AdapterRefusedError, SelectionError
from inference.explanations import Explanation
from inference.model.attribution import Mediation, check_attribution
from inference.model.blur import blur, check_order
from inference.model.chance import ChanceTest, check_chance
from inference.model.context import RequestContext
from inference.model.knockout import check_knockout, knock_out
from inference.model.part_effects import PartEffects, check_parts
from inference.model.passes import Passes
from inference.model.replays import Replays, measured_index
from inference.model.variant_pass import VariantPass
from inference.model.variants import Variants
from inference.questions import AttributionOptions, BlurOptions, ChanceOptions, KnockoutOptions, PartsOptions, Question

_Answer = Callable[[Replays], Explanation]


class Explainer:
    """Explains what one model's variants do.

    Args:
        passes, variants: of the model.
        forced_bytes: most bytes of kept attention; may be set between two questions.
    """

    def __init__(self, passes: Passes, variants: Variants, forced_bytes: int) -> None:
        self._passes, self._variants, self.forced_bytes = passes, variants, forced_bytes

    def explain(self, context: RequestContext, question: Question[Explanation]) -> Explanation:
        """Answer one question about a request.

        Raises:
            VisualizerError: whatever went wrong; what was read of the image before is kept where it is whole.
        """
        question.check_images(len(context.prompt.images))
        index = measured_index(context, question, self._passes)
        run = self._prepared(context, question, index)
        answer, variants = context.given, dict[str | None, VariantPass]()
        for adapter in context.order:
            with self._variants.open(context, adapter) as variant:
                variant.read_image(variant.see())
                if answer is None:  # whose answer is replayed goes first
                    variant.read()
                    variant.write()
                    answer = variant.answer_ids
            variants[adapter] = variant
        assert answer is not None
        adapters = context.request.adapters
        prefixes = [variants[adapter].image_cache() for adapter in adapters]

        def switch(variant: int) -> AbstractContextManager[None]:
            return self._variants.use(context, adapters[variant])

        try:
            expected = question.replays(self._passes.checkpoint.info, len(adapters))
            explanation = run(Replays(context, answer, index, prefixes, switch, self._passes, expected))
        except (SelectionError, AdapterRefusedError):  # thrown between two passes: what was read of the image is whole
            self._keep(variants)
            raise
        self._keep(variants)
        return explanation

    def _prepared(self, context: RequestContext, question: Question[Explanation], index: int) -> _Answer:
        """What will answer a question; whatever can be refused before anything runs is refused here."""
        variants = self._variants
        if isinstance(question, AttributionOptions):
            check_attribution(context, index, self._passes, self.forced_bytes)
            options = question
            return lambda replays: Mediation(replays, options).run()
        if isinstance(question, KnockoutOptions):
            return partial(knock_out, options=question, cells=check_knockout(context, question))
        if isinstance(question, BlurOptions):
            check_order(context, question)
            return partial(blur, options=question)
        if isinstance(question, ChanceOptions):
            check_chance(context)
            adapter = _adapter(context)
            variants.adapters.load(adapter)
            variants.adapters.check_controls(adapter)
            test = partial(ChanceTest, options=question, control=partial(variants.control, context, adapter))
            return lambda replays: test(replays).run()
        if isinstance(question, PartsOptions):
            check_parts(context)
            adapter = _adapter(context)
            variants.adapters.load(adapter)
            effects = partial(
                PartEffects,
                options=question,
                adapted=variants.adapters.adapted(adapter),
                use=partial(variants.portion, context, adapter),
            )
            return lambda replays: effects(replays).run()
        raise SelectionError(f"{type(question).__name__} is no question that this engine answers.")

    def _keep(self, variants: dict[str | None, VariantPass]) -> None:
        for variant in variants.values():
            variant.keep()


def _adapter(context: RequestContext) -> str:
    name = context.request.adapters[1]
    assert name is not None
    return name
