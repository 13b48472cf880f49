"""docs/moderator-card.md and the same figures as JSON, from the scores and from model.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from training.pipeline import FOLD, MODEL
from training.queries import DATA, load_yaml
from training.results import results

USES: Final = {
    "alpaca_harmless": "harmless requests",
    "cyber_frr": "harmless requests that sound bad (English)",
    "figstep": "harmful queries; its advice questions for the scenario only",
    "harm_prompts": "harmful queries",
    "mtbench": "harmless requests and chats",
    "mtbench101": "harmless chats",
    "openai_moderation": "texts of both kinds, at a third of the weight",
    "phtest": "harmless requests that sound bad; the controversial ones at less than half the weight",
    "red_queen": "its actions as harmful queries; its attacks, every second one with an honest end instead",
    "sgd": "harmless chats",
    "taskmaster4": "harmless chats",
    "topical_chat": "harmless chats",
}


def write_card(card: Path, *, scores: Path, model: Path) -> None:
    """Write the card, and beside it its figures as JSON.

    Raises:
        FileNotFoundError: the scores of a fold, or the model, are missing.
    """
    figures = results(scores)
    about = json.loads((model / "model.json").read_text(encoding="utf-8"))
    acts = load_yaml("contrast.yaml")
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - Markdown, our own
    page = environment.from_string((DATA / "card.md").read_text(encoding="utf-8")).render(
        about=about,
        results=figures,
        uses=USES,
        fold=asdict(FOLD),
        full=asdict(MODEL),
        pairs=len(acts["acts"]) + len(acts["sentences"]),
        targets=targets(figures),
        verdict=_verdict(figures["baselines"]),
        tried=(DATA / "tried.md").read_text(encoding="utf-8").strip(),
        percent=lambda share: f"{100 * share:.3g} %",
        against_table=against_table,
        alarm_table=alarm_table,
    )
    card.write_text(page.rstrip() + "\n", encoding="utf-8")
    card.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def against_table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of comparisons."""
    lines = [
        "| harmful | n | against | AUROC | recall at 1 % false alarms | at 5 % |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {entry['harmful']:,} | {entry['harmless']:,} | {_ratio(entry['auroc'])} "
        f"| {_share(entry['recall_at_1'])} | {_share(entry['recall_at_5'])} |"
        for name, entry in entries.items()
    ]
    return "\n".join(lines) + "\n"


def alarm_table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of shares flagged at the default threshold."""
    lines = ["| | dialogues | at any turn | at the last turn | per 1,000 turns |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {entry['dialogues']:,} | {_share(entry['ever'])} | {_share(entry['at_end'])} "
        f"| {entry['per_1000_turns']:.1f} |"
        for name, entry in entries.items()
    ]
    return "\n".join(lines) + "\n"


def targets(figures: Mapping[str, Any]) -> list[dict[str, object]]:
    """What the model should reach, what it reached, and whether that is enough."""
    overall, alarms = figures["multi_turn"]["all"], figures["false_alarms"]["all chats of several turns"]
    best = max(entry["recall_at_1"][0] for name, entry in figures["baselines"].items() if name != "embedded")
    own = figures["baselines"]["embedded"]["recall_at_1"][0]
    rows: Sequence[tuple[str, str, bool]] = (
        ("multi-turn harmful against harmless chats: AUROC at least 0.92", _ratio(overall["auroc"]),
         overall["auroc"][0] >= 0.92),
        ("recall there at 5 % false alarms: at least 60 %", _share(overall["recall_at_5"]),
         overall["recall_at_5"][0] >= 0.6),
        ("XSTest contrasts: AUROC at least 0.85", _ratio(figures["xstest"]["auroc"]),
         figures["xstest"]["auroc"][0] >= 0.85),
        ("false alarms at the default threshold: at most 2 % of harmless chats of several turns",
         _share(alarms["ever"]), alarms["ever"][0] <= 0.02),
        ("recall at 1 % false alarms above every baseline", f"{100 * own:.1f} % against {100 * best:.1f} %",
         own > best),
    )  # fmt: skip
    return [{"target": target, "reached": reached, "met": met} for target, reached, met in rows]


def _verdict(baselines: Mapping[str, Mapping[str, Any]]) -> str:
    best = max(baselines, key=lambda name: baselines[name]["recall_at_1"][0])
    if best == "embedded":
        return "At 1 % false alarms the head finds more than any of them."
    return (
        f"At 1 % false alarms `{best}` finds more than the head: prefer it where that bound is what counts."
    )


def _ratio(figure: Sequence[float]) -> str:
    return f"{figure[0]:.3f} ({figure[1]:.3f}–{figure[2]:.3f})"


def _share(figure: Sequence[float]) -> str:
    return f"{100 * figure[0]:.1f} % ({100 * figure[1]:.1f}–{100 * figure[2]:.1f})"
