"""How long a training run is and how much it measures; it must not know what is taught."""

from dataclasses import dataclass

from inference.demo.training.click_lessons import CLICK_STAGES
from inference.demo.training.curriculum import BASE_STAGES, Stage


@dataclass(frozen=True, slots=True)
class Scale:
    """How long to train and how much to measure; the defaults are what the committed weights were made with.

    Attributes:
        base: stages of the base model.
        adapter_steps: steps per adapter; None keeps the stage's own number.
        accuracy_scenes: held-out scenes per number of objects.
        describe_scenes: held-out scenes for what "describe" names with each adapter.
        choice_scenes: scenes on which heads are chosen.
        score_scenes: other scenes on which they are scored.
        click_screens: held-out screens per number of buttons, one click each.
        click_choice_screens: screens on which a row and a head are chosen.
        click_score_screens: other screens on which base and adapters are compared.
        workers: processes that draw pictures beside the training; 0 draws in the same process.
    """

    base: tuple[Stage, ...] = (*BASE_STAGES, *CLICK_STAGES)
    adapter_steps: int | None = None
    accuracy_scenes: int = 100
    describe_scenes: int = 120
    choice_scenes: int = 120
    score_scenes: int = 240
    click_screens: int = 60
    click_choice_screens: int = 40
    click_score_screens: int = 60
    workers: int = 1
