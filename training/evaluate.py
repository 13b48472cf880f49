"""`python -m training evaluate`: one fixed measurement of a model, as the run time runs it.

Scores go to files without texts, one for each part, so that a stopped evaluation goes on where it was.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from safemt.core.schema import Message
from safemt.moderation.detectors.embedded.detector import EmbeddedDetector
from training.attacks import ATTACKS
from training.corpus import Share, share_of
from training.dialogues import FORMS
from training.queries import harmful_queries, harmless_queries
from training.results import LANGUAGES, MEASURED, summary
from training.sources import LICENCES, Row, read_source
from training.wrapping import WRAPS

LONGEST: Final = 20
"""User turns that are read of one dialogue."""
REQUESTS: Final = 60
"""Harmful requests that are wrapped."""
COMPOSED: Final = 440
"""Dialogues of each class that are made in the same forms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One dialogue to be read, and what is known about it."""

    part: str
    label: str
    language: str
    turns: Sequence[str]
    cluster: str
    """What repeats itself, so that intervals count it once: a template of Red Queen, else the dialogue."""


def evaluate(data: Path, model: Path, out: Path, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """Score every part with the model in `model`, and write `summary.json` beside the scores in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    detector = EmbeddedDetector.load(pictures=False, folder=model)
    scores: dict[str, list[dict[str, Any]]] = {}
    for name, cases in _parts(data).items():
        path = out / f"{name}.json"
        if not path.exists():
            tell(f"reads {len(cases)} dialogues of {name}")
            path.write_text(json.dumps(asyncio.run(_read(detector, cases))) + "\n", encoding="utf-8")
        scores[name] = json.loads(path.read_text(encoding="utf-8"))
    found = summary(scores, detector.threshold)
    (out / "summary.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _parts(data: Path) -> dict[str, list[Case]]:
    validation = [
        _case(row, label)
        for label, sources in MEASURED.items()
        for source, most in sources.items()
        for row in drawn(data, source, most)
    ]
    return {
        "validation": validation,
        "xstest": [_case(row, row.label) for row in read_source(data, "xstest")],
        "msts": _spoken(data),
        "dilution": _wrapped(data),
        "composed": _composed(data),
    }


def drawn(data: Path, source: str, most: int) -> list[Row]:
    """The rows of a source that are read: attacks of Red Queen only, a seeded draw of all others."""
    rows = [row for row in read_source(data, source) if row.part != "red_queen direct"]
    return random.Random(f"evaluate {source}").sample(rows, min(most, len(rows)))


def _spoken(data: Path) -> list[Case]:
    chance = random.Random("evaluate languages")
    msts = read_source(data, "msts")
    found = []
    for language in LANGUAGES:
        own = [row for row in msts if row.language == language and row.part == "msts multimodal"]
        found += [_case(row, "harmful") for row in chance.sample(own, min(len(own), 200))]
    cyber = read_source(data, "cyber_frr")
    foreign = [row for row in cyber if row.language != "en"]
    originals = {row.question for row in foreign}
    english = [row for row in cyber if row.language == "en" and row.text in originals]
    return [*found, *(_case(row, "harmless") for row in [*foreign, *english] if row.language in LANGUAGES)]


def _wrapped(data: Path) -> list[Case]:
    """Requests of StrongREJECT, which name one act each, and harmless ones, inside each wrap."""
    harmful = [row.text for row in read_source(data, "harm_prompts") if row.part.startswith("strongreject")]
    harmless = [row.text for row in read_source(data, "alpaca_harmless")]
    chance = random.Random("evaluate wraps")
    asked, calm = chance.sample(harmful, REQUESTS), chance.sample(harmless, REQUESTS)
    found = [
        Case(part="as it is", label="harmful", language="en", turns=[text], cluster=str(place))
        for place, text in enumerate(asked)
    ]
    for name, wrap in WRAPS.items():
        for texts, end in ((asked, ""), (calm, ", harmless")):
            found += [
                Case(
                    part=name + end,
                    label=end,
                    language="en",
                    turns=[wrap(text, random.Random(text))],
                    cluster=str(place),
                )
                for place, text in enumerate(texts)
            ]
    return found


def _composed(data: Path) -> list[Case]:
    """Queries of both classes that only calibration has seen, in the same multi-turn forms."""
    rows = [row for source in LICENCES for row in read_source(data, source)]
    forms = {name: write for name, write in {**FORMS, **ATTACKS}.items() if name != "single"}
    found = []
    for label, queries in (("harmful", harmful_queries(rows)), ("harmless", harmless_queries(rows))):
        unseen = [
            query
            for query in queries
            if share_of(query.group) is Share.CALIBRATION and query.harmful in {0.0, 1.0}
        ]
        chance = random.Random("evaluate composed")
        for place, query in enumerate(chance.sample(unseen, min(COMPOSED, len(unseen)))):
            form = list(forms)[place % len(forms)]
            turns = [turn.text for turn in forms[form](query, chance)]
            found.append(Case(part=form, label=label, language="en", turns=turns, cluster=query.group))
    return found


def _case(row: Row, label: str) -> Case:
    cluster = row.part if row.source == "red_queen" else row.id
    return Case(
        part=row.source, label=label, language=row.language, turns=row.turns[:LONGEST], cluster=cluster
    )


async def _read(detector: EmbeddedDetector, cases: Sequence[Case]) -> list[dict[str, Any]]:
    async def no_call(*_: object) -> NoReturn:
        raise AssertionError("the embedded detector makes no calls")

    found = []
    for case in cases:
        reading = detector.open(no_call)
        risks, own = [], []
        for text in case.turns:
            await reading.add(Message(role="user", content=text))
            assessed = await reading.assess()
            risks.append(round(assessed.risk or 0.0, 5))
            own.append(round(assessed.turn_risk or 0.0, 5))
        found.append(
            {
                "part": case.part,
                "label": case.label,
                "language": case.language,
                "cluster": case.cluster,
                "risks": risks,
                "own": own,
            }
        )
    return found
