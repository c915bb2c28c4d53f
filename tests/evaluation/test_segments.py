import numpy as np
import pytest

from gloss.errors import ConfigError
from gloss.evaluation.segments import SegmentBounds, default_bounds, history_lengths_of, segments_of


def members(*purchases: int, bounds: SegmentBounds) -> dict[str, list[int]]:
    masks = segments_of(np.array(purchases, np.int64) - 1, bounds)  # without the target
    return {
        name: [n for n, inside in zip(purchases, mask, strict=True) if inside]
        for name, mask in masks.items()
    }


def test_bounds_are_counted_with_the_test_item_and_belong_to_the_lower_segment():
    found = members(3, 5, 6, 14, 15, bounds=SegmentBounds(cold=5, regular=14))
    assert found == {"cold": [3, 5], "regular": [6, 14], "power": [15]}


def test_the_published_bounds_are_known_by_the_name_of_the_data_set():
    assert default_bounds("beauty") == SegmentBounds(5, 14)
    assert default_bounds("Toys") == default_bounds("sports") == SegmentBounds(5, 13)
    assert default_bounds("mine") == SegmentBounds(5, 14)


def test_bounds_in_the_wrong_order_are_an_error():
    with pytest.raises(ConfigError, match=r"cold \(5\) must be below regular \(5\)"):
        SegmentBounds(cold=5, regular=5)


def test_no_users_make_empty_segments():
    assert members(bounds=SegmentBounds()) == {"cold": [], "regular": [], "power": []}


def test_history_lengths_are_ranges_that_every_user_is_in_once():
    groups = history_lengths_of(np.repeat([2, 3, 9, 60], 10))
    assert {name: int(mask.sum()) for name, mask in groups.items()} == {
        "≤2": 10,
        "3": 10,
        "4–10": 10,
        "11+": 10,
    }


def test_few_users_go_with_the_next_range_and_the_last_with_the_one_before():
    groups = history_lengths_of(np.array([1, *[4] * 200, *[5] * 200, 99]))
    assert {name: int(mask.sum()) for name, mask in groups.items()} == {"≤4": 201, "5+": 201}


def test_equal_histories_are_one_range_and_no_users_none():
    assert list(history_lengths_of(np.array([4, 4]))) == ["all"]
    assert history_lengths_of(np.array([], np.int64)) == {}
