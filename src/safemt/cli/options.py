"""Every option that belongs to a configuration, or that several commands share, declared once.

Its place in the configuration gives the option its name and its panel in `--help`; the configuration types
give its type, its default and its limits (`cli/values.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal


class Panel(StrEnum):
    """A heading of `--help`, in the order of the page."""

    ARGUMENTS = "Arguments"
    CONFIGURATION = "Configuration"
    GATEWAY = "Gateway"
    TARGET = "Target"
    JUDGE = "Judge"
    MODERATOR = "Moderator"
    GENERATOR = "Generator"
    SELECTION = "Selection"
    LIMITS = "Limits and budget"
    MACHINES = "Many machines"
    OUTPUT = "Output"


_PANELS: Final = {
    "config": Panel.CONFIGURATION, "print_config": Panel.CONFIGURATION,
    "target": Panel.TARGET, "history": Panel.TARGET,
    "judge": Panel.JUDGE,
    "moderator": Panel.MODERATOR, "every_turn": Panel.MODERATOR,
    "upstream": Panel.GATEWAY, "listen": Panel.GATEWAY, "audit": Panel.GATEWAY,
    "generator": Panel.GENERATOR,
    "benchmark": Panel.SELECTION, "selection": Panel.SELECTION, "seed": Panel.SELECTION,
    "limits": Panel.LIMITS, "budget": Panel.LIMITS,
    "shard": Panel.MACHINES, "executor": Panel.MACHINES, "ray": Panel.MACHINES,
}  # fmt: skip
"""By the first part of a place; others are output."""
_FLAGS: Final = {
    "target.sampling.temperature": "--temperature",
    "target.sampling.max_output_tokens": "--max-output-tokens",
    "judge.routing": "--routing",
    "moderator.action": "--action",
    "moderator.on_error": "--on-moderator-error",
    "moderator.policies": "--policies",
    "moderator.policy_position": "--policy-position",
    "moderator.policy_budget": "--policy-budget",
    "shard": "--shards",
    "upstream.base_url": "--upstream",
    "audit.path": "--audit",
    "as_json": "--json",
}
"""Options that are not named by the rule in `Setting.flag`."""
_METAVARS: Final = {
    "name": "NAME", "benchmark": "NAME", "base_url": "URL", "api_key_env": "VARIABLE", "timeout": "SECONDS",
    "max_cost": "USD", "template": "NAME|FILE", "band": "LOW,HIGH", "shard": "N/M", "address": "HOST:PORT",
}  # fmt: skip
"""What options take, by the last part of their place; others are named by their type."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One option."""

    path: str
    """Its place in the configuration (`target.base_url`), or the name of an argument of the command."""
    help: str
    kind: Any = None
    """The type, if no configuration has it."""
    default: Any = None
    """Of an option that no configuration has."""
    panel: Panel | None = None
    """None is by the place."""
    metavar: str = ""
    """What the option takes; empty is by the place or the type."""
    short: str = ""
    """A short form, such as `-o`."""
    required: bool = False
    multiple: bool = False
    """Whether the option may be given several times."""

    @property
    def flag(self) -> str:
        """`--target-base-url`: the place without `name`, `sampling`, and sections that are no model."""
        parts = self.path.split(".")
        if parts[0] in ("selection", "limits", "budget", "listen"):
            parts = parts[1:]
        words = [part for part in parts if part not in ("name", "sampling")]
        return _FLAGS.get(self.path) or "--" + "-".join(words).replace("_", "-")

    @property
    def heading(self) -> Panel:
        """The panel."""
        return self.panel or _PANELS.get(self.path.partition(".")[0], Panel.OUTPUT)

    @property
    def takes(self) -> str:
        """What the option takes; empty is by the type."""
        return self.metavar or _METAVARS.get(self.path.rpartition(".")[2], "")


_SERVER: Final = "Any OpenAI-compatible server, such as http://localhost:8000/v1."
_KEY: Final = "Environment variable that holds the {}'s key. Default: OPENAI_API_KEY."
_TEMPERATURE: Final = "Sampling temperature of the {}. `default` leaves it to the server."

_IN_A_CONFIGURATION: Final = {
    "target.name": "Model under test: openai/MODEL, replay/PATH, or sim/steady, sim/drifting, sim/brittle "
    "(simulated).",
    "target.base_url": _SERVER,
    "target.api_key_env": _KEY.format("target"),
    "target.sampling.temperature": _TEMPERATURE.format("target"),
    "target.sampling.max_output_tokens": "Longest response of the target, in tokens.",
    "history": "Assistant turns in the dialogue: as scripted, or the target's own replies.",
    "judge.name": "Judge: openai/MODEL, refusal (offline, weak), recorded/PATH, or panel:A,B,C.",
    "judge.base_url": _SERVER,
    "judge.api_key_env": _KEY.format("judge"),
    "judge.sampling.temperature": _TEMPERATURE.format("judge"),
    "judge.sampling.max_output_tokens": "Longest answer of the judge, in tokens. A judge that thinks first "
    "needs more.",
    "judge.routing": "Rubric: the scenario's own where there is one, or always the general one.",
    "judge.with_image": "Show the image to the judge, too.",
    "moderator.name": "Moderator: embedded, llm:openai/MODEL, cascade:FIRST,SECOND, guard/NAME, or a "
    "baseline such as keyword.",
    "moderator.action": "What to do with a flagged dialogue: inject a policy, or block it.",
    "moderator.on_error": "If the moderator fails: inject the baseline policy, let the dialogue through "
    "(open), or block it (closed).",
    "moderator.threshold": "Risk (0 to 1) from which a dialogue is flagged. Default: the moderator's own.",
    "moderator.thresholds": "Threshold file that `safemt moderator calibrate` wrote for this moderator.",
    "moderator.base_url": _SERVER,
    "moderator.api_key_env": _KEY.format("moderator"),
    "moderator.sampling.temperature": _TEMPERATURE.format("moderator's model"),
    "moderator.sampling.max_output_tokens": "Longest answer of the moderator's model, in tokens. Default: "
    "the moderator's own.",
    "moderator.timeout": "Time limit of one call to the moderator's model.",
    "moderator.template": "For llm: a guard template in place of our prompt, by name (qwen3guard) or as a "
    "YAML file.",
    "moderator.with_pictures": "For llm: show the pictures to the model.",
    "moderator.band": "For cascade: the risks between which the second moderator is asked.",
    "moderator.policies": "Folder of your own policies. Each replaces the shipped policy with the same id.",
    "moderator.policy_position": "Where policies are injected. Chat templates differ in what they accept.",
    "moderator.policy_budget": "Longest injection, in approximate tokens.",
    "generator.name": "What writes the dialogues: template (offline) or openai/MODEL.",
    "generator.base_url": _SERVER,
    "generator.api_key_env": _KEY.format("generator"),
    "benchmark": "Benchmark: a folder, a file, demo, or hub:OWNER/NAME[@REVISION].",
    "selection.turns": "Numbers of turns to run, such as 1,2,4. Default: all.",
    "selection.limit": "Run at most this many queries, spread over the scenarios.",
    "selection.text_only": "Run every sample without its image.",
    "selection.skip_missing_images": "Leave out samples whose image is missing.",
    "seed": "Random seed for sample selection, run order and simulated targets.",
    "limits.concurrency": "Maximum number of calls at once to one endpoint.",
    "limits.timeout": "Time limit of one call.",
    "budget.max_cost": "Stop when the run directory has cost this much, earlier runs included.",
    "budget.max_tokens": "Stop when the run directory has used this many tokens, input and output together.",
    "budget.prices": "YAML file of prices that extends the shipped table.",
}
_OTHERS: Final = (
    Setting(
        "config",
        "Read the configuration from a YAML or JSON file. Other options override it; --no-FLAG turns off a "
        "flag that it sets.",
        Path,
    ),
    Setting("print_config", "Print the whole configuration as YAML, for --config, and exit.", bool),
    Setting("every_turn", "Ask an endpoint after each user turn, not once for the whole dialogue.", bool),
    Setting("shard", "Run only part N of M, on one of M machines. Join the parts with `safemt merge`.", str),
    Setting(
        "executor", "Run in this process, or on the workers of a Ray cluster.",
        Literal["local", "ray"], "local",
    ),
    Setting("ray.address", "Address of the Ray cluster. `auto` finds the one on this machine.", str, "auto"),
    Setting("ray.workers", "Workers to start on it. Default: one per machine.", int),
    Setting("out", "Run directory. An existing one is continued.", Path),
    Setting("log_json", "Append events to this file, one JSON object per line.", Path),
    Setting("force", "Compare the runs even if their benchmarks or judges differ.", bool),
    Setting("as_json", "Print one JSON document instead of tables.", bool),
)  # fmt: skip

TABLE: Final[Mapping[str, Setting]] = {
    **{path: Setting(path, text) for path, text in _IN_A_CONFIGURATION.items()},
    **{setting.path: setting for setting in _OTHERS},
}
"""The settings by path."""
_OF_THIS_COMMAND: Final[dict[str, Setting]] = {}
"""The settings of the command that runs, by path."""


def option(path: str, text: str = "", **changes: Any) -> Setting:
    """The setting at `path`, changed for one command, for instance with another help text."""
    setting = TABLE[path]
    return replace(setting, help=text or setting.help, **changes)


def use(settings: Iterable[Setting]) -> None:
    """Make the settings of the command that runs known to `flag_of`."""
    _OF_THIS_COMMAND.clear()
    _OF_THIS_COMMAND.update({setting.path: setting for setting in settings})


def flag_of(path: str) -> str | None:
    """The option for a place in the configuration; a model's name may be left out (`judge`)."""
    found = TABLE.get(path) or TABLE.get(f"{path}.name") or _OF_THIS_COMMAND.get(path)
    return found.flag if found else None
