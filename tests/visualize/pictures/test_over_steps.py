"""A training run's rates lie where their numbers say."""

import numpy as np
import pytest

from visualize.pictures import over_steps
from visualize.pictures.over_steps import Rate, steps_picture


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn."""
    figures, make = [], over_steps.Figure
    monkeypatch.setattr(
        over_steps, "Figure", lambda *given, **options: figures.append(make(*given, **options)) or figures[-1]
    )
    return figures


def test_each_line_has_its_points_its_band_and_bases_level(drawn):
    rates = [
        Rate("said", (0.9, 0.4), (0.8, 0.3), (1.0, 0.5), 0.95),
        Rate("looked", (0.7, 0.6), (0.6, 0.5), (0.8, 0.7), 0.75),
    ]
    picture = steps_picture(
        {"run": ((10, 200), rates), "$other": ((1, 2, 3), [Rate("said", (0, 1, 0), *[(np.nan,) * 3] * 2, np.nan)])}
    )
    assert picture.size == (840, round(120 * (0.4 + 2 * 2.6)))
    first, second = drawn[0].axes
    assert (first.get_title(), second.get_title()) == ("run", "$other")
    points = [line for line in first.lines if line.get_marker() != "None"]
    assert [line.get_xydata().tolist() for line in points] == [[[10, 90], [200, 40]], [[10, 70], [200, 60]]]
    assert len({(line.get_marker(), line.get_linestyle(), line.get_color()) for line in points}) == 2
    assert [line.get_ydata()[0] for line in first.lines if line.get_marker() == "None"] == [95, 75]
    bands = [band.get_paths()[0].get_extents() for band in first.collections]
    assert [(band.y0, band.y1) for band in bands] == [pytest.approx((30, 100)), pytest.approx((50, 80))]
    assert first.get_ylim() == (-3, 103)
