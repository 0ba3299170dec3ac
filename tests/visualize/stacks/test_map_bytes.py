"""How maps travel: one body, float16 with a scale per map, read back with struct."""

import struct

import numpy as np
import pytest

from tests.visualize.read_body import assert_within_rounding, read_body
from visualize.stacks.map_bytes import ROUNDING, body, scales_of


def sent(*panes, **more):
    header = {
        "grid": list(panes[0].shape[1:]),
        "frames": len(panes[0]),
        "panes": [{"variant": str(index), "scales": scales_of(maps)} for index, maps in enumerate(panes)],
        **more,
    }
    made = body(header, panes)
    found, maps = read_body(made)
    assert {name: found[name] for name in header} == header
    return made, [maps[str(index)] for index in range(len(panes))]


@pytest.mark.parametrize("words", ["", "a", "ab", "abc", "ä", "界", "\0", "</script>", "𝄞 x"])
def test_a_header_of_any_length_is_followed_by_maps_at_a_multiple_of_8_bytes(words):
    maps = np.arange(1, 13, dtype=np.float32).reshape(2, 2, 3)
    made, (back,) = sent(maps, words=words)
    (length,) = struct.unpack_from("<I", made, 4)
    assert (8 + length) % 8 == 0
    assert made[8 : 8 + length].decode().rstrip(" ").endswith("}")
    np.testing.assert_array_equal(back, maps)
    assert words.encode() in made or not words.isprintable()  # UTF-8 as it is, not as escapes of twice the length


def test_panes_frames_rows_and_columns_keep_their_places():
    panes = [np.arange(12, dtype=np.float32).reshape(2, 2, 3) + 100 * pane for pane in (1, 2, 3)]
    _, back = sent(*panes)
    for read, maps in zip(back, panes, strict=True):
        np.testing.assert_array_equal(read, maps)


@pytest.mark.parametrize("power", [-100, -20, -3, 0, 3])
def test_a_value_is_off_by_at_most_2_to_the_minus_11_of_itself_down_to_a_millionth_of_its_map(power):
    rng = np.random.default_rng(0)
    values = (10.0 ** rng.uniform(-8, 0, (3, 20, 30)) * rng.choice([-1, 1], (3, 20, 30)) * 2.0**power).astype(
        np.float32
    )
    _, (back,) = sent(values)
    seen = np.abs(values) > 1e-6 * np.abs(values).max(axis=(1, 2), keepdims=True)
    error = np.abs(back - values.astype(np.float64)) / np.abs(values)
    assert 0.9 * ROUNDING < error[seen].max() <= ROUNDING == 2**-11
    assert_within_rounding(back, values)


def test_each_map_has_a_scale_of_its_own_a_power_of_two_that_leaves_room():
    maps = np.array([[[0.3, 1e-4]], [[3e-9, -5e-9]], [[0.0, 0.0]], [[1.0, 0.5]]], np.float32)
    scales = scales_of(maps)
    for scale, largest in zip(scales, (0.3, 5e-9, 0, 1.0), strict=True):
        assert scale == 0 if not largest else 2**14 <= largest / scale < 2**15
        assert scale == 0 or np.log2(scale) == round(np.log2(scale))
    _, (back,) = sent(maps)
    assert_within_rounding(back, maps)
    assert (back[2] == 0).all()


def test_the_largest_values_of_float32_do_not_overflow():
    _, (back,) = sent(np.array([[[np.nextafter(np.float32(1), np.float32(0)), 1.0]]], np.float32))
    assert np.isfinite(back).all()


def test_a_header_without_numbers_in_json_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        body({"value": float("nan")}, [])
