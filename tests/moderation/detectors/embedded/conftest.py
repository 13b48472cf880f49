from collections.abc import Callable

import pytest

from safemt.core.taxonomy import OnError, Scenario
from safemt.moderation.detectors.embedded.detector import EmbeddedDetector
from safemt.moderation.detectors.embedded.model import SHIPPED
from safemt.moderation.moderator import Moderator
from safemt.moderation.policies.policy import Policies, Policy

NewModerator = Callable[..., Moderator]


@pytest.fixture(scope="session")
def detector() -> EmbeddedDetector:
    """The detector that ships, without a reader of pictures."""
    if not (SHIPPED / "model.json").exists():
        pytest.skip("the model is not there yet")
    return EmbeddedDetector.load(pictures=False)


@pytest.fixture
def new_moderator(detector: EmbeddedDetector) -> NewModerator:
    def new(other: EmbeddedDetector | None = None, on_error: OnError = OnError.INJECT) -> Moderator:
        return Moderator(detector=other or detector, policies=POLICIES, on_error=on_error)

    return new


def _policy(scenario: Scenario | None) -> Policy:
    name = scenario.slug if scenario else "baseline"
    return Policy(
        id=name,
        version="1",
        scenario=scenario,
        title=name,
        definition=name,
        dont=(),
        do=(),
        short=name,
        full=name,
    )


POLICIES = Policies(baseline=_policy(None), by_scenario={each: _policy(each) for each in Scenario})
