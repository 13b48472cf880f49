import numpy as np

from safemt.moderation.detectors.embedded.features import (
    FEATURES,
    HARM,
    Floats,
    TurnLogits,
    turn_features,
    worst_reading,
)


def readings(*harm: float) -> Floats:
    """Windows with these logits of harm, a distress of a tenth of it, and no scenario."""
    found = np.zeros((len(harm), 4), np.float32)
    found[:, 0], found[:, 1] = harm, [each / 10 for each in harm]
    return found


def test_the_worst_of_each_kind_counts() -> None:
    turn = TurnLogits(parts=readings(1, 4, -2, 3), hidden=readings(0.5), context=readings(-1, 2))
    found = turn_features(turn)
    expected = [2, 4, 8 / 3, 1.5, 0.5, 1, 0.4, np.log(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.shape == (FEATURES,)
    assert found.dtype == np.float32


def test_where_nothing_was_opened_the_worst_part_stands_in() -> None:
    turn = TurnLogits(parts=readings(1, 4), hidden=readings(), context=readings(0))
    assert turn_features(turn)[4:6].tolist() == [4, 0]


def test_the_worst_window_of_all_names_the_scenario() -> None:
    turn = TurnLogits(parts=readings(1, 2), hidden=readings(7), context=readings(3))
    assert worst_reading(turn)[HARM] == 7
