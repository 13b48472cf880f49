"""Risks of dialogues for the tests of detection: of any shape, and from a population with known truth."""

import numpy as np
from hypothesis import strategies as st

from safemt.stats.detection import Scored, scored

Row = tuple[float, bool, str]

# Few distinct risks and clusters, so that ties and clusters of both classes are the rule.
rows = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.500001, 1.0]), st.booleans(), st.sampled_from("abcd")),
    min_size=1,
    max_size=14,
)
both = rows.filter(lambda listed: {harmful for _, harmful, _ in listed} == {True, False})


def scored_rows(listed: list[Row]) -> Scored:
    return scored([risk for risk, _, _ in listed], [bad for _, bad, _ in listed], [c for _, _, c in listed])


def population(
    generator: np.random.Generator, *, clusters: int, size: int, shift: float, tie: float
) -> Scored:
    """As many harmful as benign clusters of `size` dialogues; normal scores that share `tie` of their
    variance within a cluster, and `shift` standard deviations between the classes: AUROC Φ(shift / √2)."""
    common = np.repeat(generator.normal(size=2 * clusters), size)
    own = generator.normal(size=2 * clusters * size)
    harmful = np.repeat([True, False], clusters * size)
    risk = np.sqrt(tie) * common + np.sqrt(1 - tie) * own + shift * harmful
    return scored(risk, harmful, [str(number // size) for number in range(2 * clusters * size)])
