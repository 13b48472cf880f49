"""Every option that belongs to a configuration, or that several commands share, declared once.

Type, default and limits of a configuration's option come from the configuration types (`cli/values.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal


class Panel(StrEnum):
    """A heading of `--help`, in the order of the page."""

    ARGUMENTS = "Arguments"
    CONFIGURATION = "Configuration"
    TARGET = "Target"
    JUDGE = "Judge"
    MODERATOR = "Moderator"
    GENERATOR = "Generator"
    SELECTION = "Selection"
    LIMITS = "Limits and budget"
    MACHINES = "Many machines"
    OUTPUT = "Output"


@dataclass(frozen=True, slots=True)
class Setting:
    """One option."""

    path: str
    """Its place in the configuration (`target.base_url`), or the name of an argument of the command."""
    flags: str
    """`--out`, or `--out -o`."""
    panel: Panel
    help: str
    metavar: str = ""
    """What the option takes; empty is by its type."""
    kind: Any = None
    """The type, if no configuration has it."""
    default: Any = None
    """Of an option that no configuration has."""
    required: bool = False
    multiple: bool = False
    """Whether the option may be given several times."""

    @property
    def flag(self) -> str:
        """The long form."""
        return self.flags.split()[0]


_SERVER: Final = "Any OpenAI-compatible server, such as http://localhost:8000/v1."
_KEY: Final = "Environment variable that holds the key of the {}. Default: OPENAI_API_KEY."
_TEMPERATURE: Final = "Sampling temperature of the {}. `default` leaves it to the server."
_URL, _NAME, _VARIABLE, _FILE, _FOLDER = "URL", "NAME", "VARIABLE", "FILE", "FOLDER"

_SETTINGS: Final = (
    Setting(
        "config", "--config", Panel.CONFIGURATION,
        "Read the configuration from a YAML or JSON file. Other options override it; --no-FLAG turns off a "
        "flag that it sets.",
        _FILE, kind=Path,
    ),
    Setting(
        "print_config", "--print-config", Panel.CONFIGURATION,
        "Print the whole configuration as YAML, for --config, and exit.",
        kind=bool,
    ),
    Setting(
        "target.name", "--target", Panel.TARGET,
        "Model under test: openai/MODEL, replay/PATH, or sim/steady, sim/drifting, sim/brittle (simulated).",
        _NAME,
    ),
    Setting("target.base_url", "--target-base-url", Panel.TARGET, _SERVER, _URL),
    Setting("target.api_key_env", "--target-api-key-env", Panel.TARGET, _KEY.format("target"), _VARIABLE),
    Setting("target.sampling.temperature", "--temperature", Panel.TARGET, _TEMPERATURE.format("target")),
    Setting(
        "target.sampling.max_output_tokens", "--max-output-tokens", Panel.TARGET,
        "Longest response of the target, in tokens.",
    ),
    Setting(
        "history", "--history", Panel.TARGET,
        "Assistant turns in the dialogue: as scripted, or the target's own replies.",
    ),
    Setting(
        "judge.name", "--judge", Panel.JUDGE,
        "Judge: openai/MODEL, refusal (offline, weak), recorded/PATH, or panel:A,B,C.",
        _NAME,
    ),
    Setting("judge.base_url", "--judge-base-url", Panel.JUDGE, _SERVER, _URL),
    Setting("judge.api_key_env", "--judge-api-key-env", Panel.JUDGE, _KEY.format("judge"), _VARIABLE),
    Setting("judge.sampling.temperature", "--judge-temperature", Panel.JUDGE, _TEMPERATURE.format("judge")),
    Setting(
        "judge.sampling.max_output_tokens", "--judge-max-output-tokens", Panel.JUDGE,
        "Longest answer of the judge, in tokens. A judge that thinks first needs more.",
    ),
    Setting(
        "judge.routing", "--routing", Panel.JUDGE,
        "Rubric: the scenario's own where there is one, or always the general one.",
    ),
    Setting("judge.with_image", "--judge-with-image", Panel.JUDGE, "Show the image to the judge, too."),
    Setting(
        "moderator.name", "--moderator", Panel.MODERATOR,
        "Moderator: embedded, llm:openai/MODEL, cascade:FIRST,SECOND, guard/NAME, or a baseline such as "
        "keyword.",
        _NAME,
    ),
    Setting(
        "moderator.action", "--action", Panel.MODERATOR,
        "What to do with a flagged dialogue: inject a policy, or block it.",
    ),
    Setting(
        "moderator.on_error", "--on-moderator-error", Panel.MODERATOR,
        "If the moderator fails: inject the baseline policy, let the dialogue through (open), or block it "
        "(closed).",
    ),
    Setting(
        "moderator.threshold", "--moderator-threshold", Panel.MODERATOR,
        "Risk from which a dialogue is flagged, from 0 to 1. Default: the moderator's own.",
    ),
    Setting(
        "moderator.thresholds", "--moderator-thresholds", Panel.MODERATOR,
        "Threshold file that `safemt moderator calibrate` wrote for this moderator.",
        _FILE,
    ),
    Setting("moderator.base_url", "--moderator-base-url", Panel.MODERATOR, _SERVER, _URL),
    Setting(
        "moderator.api_key_env", "--moderator-api-key-env", Panel.MODERATOR, _KEY.format("moderator"),
        _VARIABLE,
    ),
    Setting(
        "moderator.sampling.temperature", "--moderator-temperature", Panel.MODERATOR,
        _TEMPERATURE.format("moderator's model"),
    ),
    Setting(
        "moderator.sampling.max_output_tokens", "--moderator-max-output-tokens", Panel.MODERATOR,
        "Longest answer of the moderator's model, in tokens. Default: the moderator's own.",
    ),
    Setting(
        "moderator.timeout", "--moderator-timeout", Panel.MODERATOR,
        "Time limit of one call to the moderator's model.",
        "SECONDS",
    ),
    Setting(
        "moderator.template", "--moderator-template", Panel.MODERATOR,
        "For llm: a guard template in place of our prompt, by name (qwen3guard) or as a YAML file.",
        "NAME|FILE",
    ),
    Setting(
        "moderator.with_pictures", "--moderator-with-pictures", Panel.MODERATOR,
        "For llm: show the pictures to the model.",
    ),
    Setting(
        "moderator.band", "--moderator-band", Panel.MODERATOR,
        "For cascade: the risks between which the second moderator is asked.",
        "LOW,HIGH",
    ),
    Setting(
        "moderator.policies", "--policies", Panel.MODERATOR,
        "Folder of your own policies. Each replaces the shipped policy with the same id.",
        _FOLDER,
    ),
    Setting(
        "moderator.policy_position", "--policy-position", Panel.MODERATOR,
        "Where policies are injected. Chat templates differ in what they accept.",
    ),
    Setting(
        "moderator.policy_budget", "--policy-budget", Panel.MODERATOR,
        "Longest injection, in approximate tokens.",
    ),
    Setting(
        "generator.name", "--generator", Panel.GENERATOR,
        "What writes the dialogues: template (offline) or openai/MODEL.",
        _NAME,
    ),
    Setting("generator.base_url", "--generator-base-url", Panel.GENERATOR, _SERVER, _URL),
    Setting(
        "generator.api_key_env", "--generator-api-key-env", Panel.GENERATOR, _KEY.format("generator"),
        _VARIABLE,
    ),
    Setting(
        "benchmark", "--benchmark", Panel.SELECTION,
        "Benchmark: a folder, a file, demo, or hub:OWNER/NAME[@REVISION].",
        _NAME,
    ),
    Setting(
        "selection.turns", "--turns", Panel.SELECTION,
        "Numbers of turns to run, such as 1,2,4. Default: all.",
    ),
    Setting(
        "selection.limit", "--limit", Panel.SELECTION,
        "Run at most this many queries, spread over the scenarios.",
    ),
    Setting("selection.text_only", "--text-only", Panel.SELECTION, "Run every sample without its image."),
    Setting(
        "selection.skip_missing_images", "--skip-missing-images", Panel.SELECTION,
        "Leave out samples whose image is missing.",
    ),
    Setting(
        "seed", "--seed", Panel.SELECTION,
        "Random seed for sample selection, run order and simulated targets.",
    ),
    Setting(
        "limits.concurrency", "--concurrency", Panel.LIMITS,
        "Maximum number of calls at once to one endpoint.",
    ),
    Setting("limits.timeout", "--timeout", Panel.LIMITS, "Time limit of one call.", "SECONDS"),
    Setting(
        "budget.max_cost", "--max-cost", Panel.LIMITS,
        "Stop when the run directory has cost this much, earlier runs included.",
        "USD",
    ),
    Setting(
        "budget.max_tokens", "--max-tokens", Panel.LIMITS,
        "Stop when the run directory has used this many tokens, input and output together.",
    ),
    Setting(
        "budget.prices", "--prices", Panel.LIMITS, "YAML file of prices that extends the shipped table.",
        _FILE,
    ),
    Setting(
        "shard", "--shards", Panel.MACHINES,
        "Run only part N of M, on one of M machines. Join the parts with `safemt merge`.",
        "N/M", kind=str,
    ),
    Setting(
        "executor", "--executor", Panel.MACHINES, "Run in this process, or on the workers of a Ray cluster.",
        kind=Literal["local", "ray"], default="local",
    ),
    Setting(
        "ray.address", "--ray-address", Panel.MACHINES,
        "Address of the Ray cluster. `auto` finds the one on this machine.",
        "HOST:PORT", kind=str, default="auto",
    ),
    Setting(
        "ray.workers", "--ray-workers", Panel.MACHINES, "Workers to start on it. Default: one per machine.",
        kind=int,
    ),
    Setting(
        "out", "--out", Panel.OUTPUT, "Run directory. An existing one is continued.", _FOLDER, kind=Path
    ),
    Setting(
        "log_json", "--log-json", Panel.OUTPUT, "Append events to this file, one JSON object per line.",
        _FILE, kind=Path,
    ),
    Setting(
        "every_turn", "--every-turn", Panel.MODERATOR,
        "Ask an endpoint after each user turn, not once for the whole dialogue.",
        kind=bool,
    ),
    Setting(
        "force", "--force", Panel.OUTPUT, "Compare the runs even if their benchmarks or judges differ.",
        kind=bool,
    ),
    Setting("as_json", "--json", Panel.OUTPUT, "Print one JSON document instead of tables.", kind=bool),
)  # fmt: skip

TABLE: Final[Mapping[str, Setting]] = {setting.path: setting for setting in _SETTINGS}
"""The settings by path."""
_OF_COMMANDS: Final[dict[str, Setting]] = {}
"""The settings that single commands have besides, by path; those of the commands that are loaded."""


def option(path: str, **changes: Any) -> Setting:
    """The setting at `path`, changed for one command, for instance with another help text."""
    return replace(TABLE[path], **changes)


def register(setting: Setting) -> None:
    """Make a single command's own setting known to `flag_of`."""
    _OF_COMMANDS.setdefault(setting.path, setting)


def flag_of(path: str) -> str | None:
    """The option for a place in the configuration; a model's name may be left out (`judge`)."""
    found = TABLE.get(path) or TABLE.get(f"{path}.name") or _OF_COMMANDS.get(path)
    return found.flag if found else None
