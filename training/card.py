"""docs/moderator-card.md and the same figures as JSON, from the scores and from model.json."""

import json
import subprocess
import sys
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
    figures = {**results(scores), "speed": _speed(model)}
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
        verdict=_verdict(figures),
        tried=(DATA / "tried.md").read_text(encoding="utf-8").strip(),
        percent=lambda share: f"{100 * share:.3g} %",
        against_table=against_table,
        alarm_table=alarm_table,
        share=_share,
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


def _speed(model: Path) -> dict[str, Any]:
    """What the model costs to run, from a process that does nothing else."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "training.speed", str(model)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def targets(figures: Mapping[str, Any]) -> list[dict[str, object]]:
    """What the model should reach, what it reached, and whether that is enough."""
    overall, alarms = figures["multi_turn"]["all"], figures["false_alarms"]["all chats of several turns"]
    rows: Sequence[tuple[str, str, bool]] = (
        ("multi-turn harmful against harmless chats: AUROC at least 0.92", _ratio(overall["auroc"]),
         overall["auroc"][0] >= 0.92),
        ("recall there at 5 % false alarms: at least 60 %", _share(overall["recall_at_5"]),
         overall["recall_at_5"][0] >= 0.6),
        ("XSTest contrasts: AUROC at least 0.85", _ratio(figures["xstest"]["auroc"]),
         figures["xstest"]["auroc"][0] >= 0.85),
        ("false alarms at the default threshold: at most 2 % of harmless chats of several turns",
         _share(alarms["ever"]), alarms["ever"][0] <= 0.02),
        ("recall at 1 % false alarms above every baseline, alarms at any turn",
         *_ahead(figures["at_any_turn"])),
        ("the same, asked once at the end", *_ahead(figures["at_the_end"])),
    )  # fmt: skip
    speed = figures["speed"]
    rows = (
        *rows,
        ("one thread, a new turn of 50 tokens, warm: at most 15 ms at p95", f"{speed['turn_ms']['p95']} ms",
         speed["turn_ms"]["p95"] <= 15),
        ("turn 50 against turn 2: at most 1.3", f"{speed['turn_50_to_turn_2']}",
         speed["turn_50_to_turn_2"] <= 1.3),
        ("memory of a process that does nothing else: at most 200 MB", f"{speed['rss_mb']} MB",
         speed["rss_mb"] <= 200),
        ("cold start, imports and first verdict: at most 1.5 s", f"{speed['cold_start_s']} s",
         speed["cold_start_s"] <= 1.5),
        ("files that ship: at most 30 MB", f"{speed['files_mb']} MB", speed["files_mb"] <= 30),
    )  # fmt: skip
    return [{"target": target, "reached": reached, "met": met} for target, reached, met in rows]


def _ahead(moderators: Mapping[str, Mapping[str, Any]]) -> tuple[str, bool]:
    """Recall at 1 % false alarms of the first, ours, against the best of the others; whether it is ahead."""
    (_, ours), *others = moderators.items()
    name, best = max(others, key=lambda other: other[1]["recall_at_1"][0])
    own, theirs = ours["recall_at_1"][0], best["recall_at_1"][0]
    return f"{100 * own:.1f} % against {100 * theirs:.1f} % ({name})", own > theirs


def _verdict(figures: Mapping[str, Any]) -> str:
    places = {
        "asked at every turn": "at_any_turn",
        "asked once at the end": "at_the_end",
        "pooled over the folds": "at_the_end_pooled",
        "within the same forms": "same_form_baselines",
    }
    found = [(place, *_ahead(figures[key])) for place, key in places.items()]
    lines = [f"{place}, {'ahead' if ahead else '**behind**'}: {text}" for place, text, ahead in found]
    return "Recall at 1 % false alarms, the head against the best baseline:\n\n- " + ";\n- ".join(lines) + "."


def _ratio(figure: Sequence[float]) -> str:
    return f"{figure[0]:.3f} ({figure[1]:.3f}–{figure[2]:.3f})"


def _share(figure: Sequence[float]) -> str:
    return f"{100 * figure[0]:.1f} % ({100 * figure[1]:.1f}–{100 * figure[2]:.1f})"
