"""Which models a run asks, as the command line names them."""

from dataclasses import dataclass, replace

from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import OPENAI_BASE_URL
from safemt.io.images import ImageFolder
from safemt.judges.base import Judge
from safemt.judges.open import open_judge
from safemt.judges.rubric import Routing
from safemt.targets.base import Target
from safemt.targets.open import open_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """A target and a judge with their options.

    It names the environment variables of keys and holds none, so that it may travel to other machines.
    """

    target: str
    target_base_url: str | None = None
    target_api_key_env: str | None = None
    sampling: Sampling
    judge: str
    judge_base_url: str | None = None
    judge_api_key_env: str | None = None
    judge_sampling: Sampling
    routing: Routing = Routing.SCENARIO
    judge_with_image: bool = False
    timeout: float = 120.0
    seed: int = 0

    def open(self, images: ImageFolder | None) -> tuple[Target, Judge]:
        """Open both; keys are read from the environment of this process.

        Raises:
            UsageError: there is no such target or judge, or an option does not fit it.
            LabelsError: recorded responses or labels cannot be read.
        """
        target = open_target(
            self.target,
            base_url=self.target_base_url,
            api_key_env=self.target_api_key_env,
            sampling=self.sampling,
            timeout=self.timeout,
            seed=self.seed,
            images=images,
        )
        judge = open_judge(
            self.judge,
            base_url=self.judge_base_url,
            api_key_env=self.judge_api_key_env,
            sampling=self.judge_sampling,
            routing=self.routing,
            with_image=self.judge_with_image,
            timeout=self.timeout,
            images=images,
        )
        return target, judge

    def without_keys(self) -> "Models":
        """The same, to be looked at but not called: no key is asked for."""
        calls = self.target.startswith("openai/")
        judge_calls = "openai/" in self.judge
        return replace(
            self,
            target_base_url=self.target_base_url or (OPENAI_BASE_URL if calls else None),
            target_api_key_env=None,
            judge_base_url=self.judge_base_url or (OPENAI_BASE_URL if judge_calls else None),
            judge_api_key_env=None,
        )
