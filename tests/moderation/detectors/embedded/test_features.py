import numpy as np

from safemt.moderation.detectors.embedded.features import Probe, turn_features

PROBE = Probe(weight=np.array([[1.0, 0.0], [0.0, 2.0]], np.float32), bias=np.array([0.5, 0.0], np.float32))


def test_the_worst_window_and_the_worst_context_count() -> None:
    windows = np.array([[0.0, 1.0], [0.8, 0.6], [-1.0, 0.0]], np.float32)
    contexts = np.array([[-0.6, 0.8], [0.0, -1.0]], np.float32)
    found = turn_features(PROBE, windows, contexts)
    np.testing.assert_allclose(found, [1.3, 1.2, 0.5, -2.0], rtol=1e-6)
    assert found.dtype == np.float32


def test_a_harmless_window_more_changes_nothing() -> None:
    windows = np.array([[0.8, 0.6]], np.float32)
    more = np.array([[-0.8, 0.6], [0.8, 0.6]], np.float32)
    np.testing.assert_array_equal(turn_features(PROBE, windows, windows), turn_features(PROBE, more, windows))
