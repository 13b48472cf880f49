"""The results document (`results.json`, `safemt score --json`) and where it comes from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safemt.benchmark.recorded import read_published_labels
from safemt.core.errors import LabelsError
from safemt.core.taxonomy import PUBLISHED_TURNS, Label, Outcome
from safemt.endpoints.spend import Usage, recorded_prices
from safemt.judges.validation import validations_of
from safemt.report.figures import REPLICATES, SEED, Figures, add_figures, estimate_json, figures_of
from safemt.report.moderation import ModerationFigures, moderation_figures, moderation_json
from safemt.run.database import is_run
from safemt.run.manifest import require_manifest
from safemt.run.store import Store
from safemt.stats.agreement import JudgePair, judge_pair
from safemt.stats.intervals import Estimate, bootstrap
from safemt.stats.metrics import label_matrix
from safemt.stats.scores import OverRefusal, ScoredSample, Scores, Tally, score_samples

People = Sequence[tuple[str, int, str]]
"""`(query_id, turns, label)` by people."""


@dataclass(frozen=True, slots=True)
class OtherJudge:
    """Another judge of the same responses, beside the run's."""

    name: str
    id: str
    asr: Estimate | None
    """Over all numbers of turns, by this judge."""
    agreement: JudgePair
    """With the run's judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCost:
    """What it took to answer the samples of a run: target and moderator, without the judge."""

    prompt_tokens: int
    """Of the target, as is `completion_tokens`; the moderator's are in `ModerationFigures`."""
    completion_tokens: int
    dollars: float | None
    """Of both; None where a price is not known."""


@dataclass(frozen=True, slots=True)
class Results:
    """The figures of one run or label set, with their provenance."""

    target: str
    simulated: bool
    samples: tuple[ScoredSample, ...]
    scores: Scores
    figures: Figures
    """The same with their uncertainty."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """The run's manifest; empty for label files."""
    other_judges: tuple[OtherJudge, ...] = ()
    """Judges that labelled the same responses before."""
    moderation: ModerationFigures | None = None
    """What the moderator did; None where there was none."""
    cost: AnswerCost | None = None
    """None for label files."""


def results_of(path: Path, *, target: str | None = None, people: People = ()) -> Results:
    """Score a run directory, or label files in the published layout.

    `target` chooses among several models' labels; `people` are labels that people gave to a part of it.

    Raises:
        RunError: the store cannot be read.
        LabelsError: there is nothing to score, or several models and none chosen.
    """
    if is_run(path):
        results = results_of_run(path, people=people)
        if target is not None and target != results.target:
            raise LabelsError(f"{path} holds a run of {results.target}, not of {target}.")
        return results
    if not path.is_dir():
        raise LabelsError(f"There is nothing to score at {path}: no such folder.")
    models = read_published_labels(path)
    names = ", ".join(sorted(models))
    if target is None and len(models) > 1:
        raise LabelsError(f"{path} holds labels of several models ({names}); choose one with --target.")
    if target is not None and target not in models:
        raise LabelsError(f"{path} holds no labels of {target}; there are: {names}.")
    name = target or next(iter(models))
    if not models[name]:
        raise LabelsError(f"There is nothing to score at {path}: the files of {name} hold no label.")
    samples = tuple(
        ScoredSample(
            query_id=row.query_id,
            turns=row.turns,
            label=Label(row.value) if row.value in set(Label) else Label.UNGRADED,
            cause="" if row.value in ("safe", "unsafe") else f"label {row.value[:40]!r}",
        )
        for row in models[name]
    )
    return Results(
        target=name,
        simulated=False,
        samples=samples,
        scores=score_samples(samples),
        figures=figures_of(samples, people=people),
    )


def results_of_run(folder: Path, *, people: People = ()) -> Results:
    """Score the newest state of a run.

    Raises:
        RunError: there is no run, or its store cannot be read.
    """
    store = Store.open_for_reading(folder)
    try:
        invocation = store.invocation()
        manifest = require_manifest(invocation.manifest, store.path)
        samples = tuple(store.scored_samples(setup=invocation.setup, judge=invocation.judge))
        spent = sum(store.spend().values(), Usage())
        answering = store.answer_tokens(setup=invocation.setup)
        moderator = manifest.get("moderator")
        moderation = moderation_figures(store.verdicts(setup=invocation.setup)) if moderator else None
        others = tuple(
            _other_judge(
                name, identity, samples, tuple(store.scored_samples(setup=invocation.setup, judge=identity))
            )
            for identity, name in store.other_judges(setup=invocation.setup, judge=invocation.judge).items()
        )
    finally:
        store.close()
    scores = score_samples(samples)
    # Of a shard, or a merge that lacks one, the rest of the benchmark is still to come.
    elsewhere = max(0, manifest["benchmark"]["samples"] - len(samples))
    return Results(
        target=manifest["target"]["name"],
        simulated=manifest["target"]["simulated"],
        samples=samples,
        scores=replace(scores, pending=scores.pending + elsewhere),
        figures=figures_of(
            samples, validation=next(iter(validations_of(invocation.judge)), None), people=people
        ),
        provenance={
            **manifest,
            "tokens": {"prompt": spent.prompt_tokens, "completion": spent.completion_tokens},
        },
        other_judges=others,
        moderation=moderation,
        cost=_answer_cost(manifest, answering, moderation),
    )


def results_json(results: Results, *, compat: bool = False) -> dict[str, Any]:
    """The results document; its keys are described in docs/file-formats.md.

    With `compat` the Safety Index and the ASR by turn are the published computation's: every published
    round is there, one without data has ASR 0, and no figure has an interval.
    """
    scores = results.scores
    index = scores.safety_index
    document = {
        "target": results.target,
        "simulated": results.simulated,
        **_provenance(results.provenance),
        "complete": scores.pending == 0,
        "pending": scores.pending,
        "turns": _by_turns_json(_compat_turns(scores.turns) if compat else scores.turns, compat=compat),
        "scenarios": _groups_json(scores.scenarios, scores.scenario_turns),
        "methods": _groups_json(scores.methods, scores.method_turns),
        "outcomes": scores.outcomes,
        "ungraded": {"n": sum(scores.causes.values()), "causes": scores.causes},
        "over_refusal": {str(k): _over_refusal_json(v) for k, v in scores.over_refusal.items()},
        "safety_index": {
            "value": scores.safety_index_compat if compat else index.value,
            "rounds": list(PUBLISHED_TURNS if compat else index.rounds),
            "missing_rounds": list(index.missing_rounds),
            "compat": scores.safety_index_compat,
        },
    }
    if results.cost is not None:
        document["answer_cost"] = asdict(results.cost)
    if results.moderation is not None:
        document["moderation"] = moderation_json(results.moderation)
    if compat:
        return document
    others = [
        {
            "name": other.name,
            "id": other.id,
            "asr": estimate_json(other.asr),
            "shared": other.agreement.shared,
            "agreement": estimate_json(other.agreement.raw),
            "kappa": estimate_json(other.agreement.kappa),
        }
        for other in results.other_judges
    ]
    return {**add_figures(document, results.figures), "other_judges": others}


def _other_judge(
    name: str, identity: str, samples: Sequence[ScoredSample], theirs: Sequence[ScoredSample]
) -> OtherJudge:
    """Compare two judges on the harmful samples that both were given."""
    pairs = [
        (ours, other)
        for ours, other in zip(samples, theirs, strict=True)
        if ours.twin_of is None and ours.label is not None and other.label is not None
        if ours.outcome not in (Outcome.ERROR, Outcome.BLOCKED, Outcome.MODERATED)
    ]
    matrix = label_matrix((other.query_id, other.turns, str(other.label)) for _, other in pairs)
    return OtherJudge(
        name=name,
        id=identity,
        asr=bootstrap(matrix, replicates=REPLICATES, seed=SEED).pooled,
        agreement=judge_pair((str(ours.label), str(other.label)) for ours, other in pairs),
    )


def _answer_cost(
    manifest: dict[str, Any], tokens: tuple[int, int], moderation: ModerationFigures | None
) -> AnswerCost:
    asked = [([manifest["target"]["name"]], tokens)]
    if moderation is not None:
        models = manifest["moderator"].get("models", [])
        asked.append((models, (moderation.prompt_tokens, moderation.completion_tokens)))
    prices = recorded_prices(manifest).models
    dollars: float | None = 0.0
    for models, used in asked:
        if any(used):
            # Verdicts do not say which of several models was paid how much.
            price = prices.get(models[0]) if len(models) == 1 else None
            dollars = None if price is None or dollars is None else dollars + price.of(*used)
    return AnswerCost(prompt_tokens=tokens[0], completion_tokens=tokens[1], dollars=dollars)


def _provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    if not manifest:
        return {}
    return {
        "benchmark": manifest["benchmark"],
        "judge": manifest["judge"],
        "moderator": manifest.get("moderator"),
        "history": manifest["history"],
        "safemt": manifest["safemt"],
        "command": manifest.get("command"),
        "shard": manifest.get("shard"),
        "tokens": manifest["tokens"],
    }


def _compat_turns(turns: dict[int, Tally]) -> dict[int, Tally]:
    return {k: turns.get(k, Tally(safe=0, unsafe=0, ungraded=0)) for k in PUBLISHED_TURNS}


def _by_turns_json(turns: dict[int, Tally], *, compat: bool = False) -> dict[str, Any]:
    documents = {str(k): _tally_json(tally) for k, tally in turns.items()}
    if compat:
        for document in documents.values():
            document["asr"] = document["asr"] or 0.0
    return documents


def _tally_json(tally: Tally) -> dict[str, Any]:
    return {
        "asr": tally.asr,
        "n": tally.n,
        "unsafe": tally.unsafe,
        "safe": tally.safe,
        "ungraded": tally.ungraded,
    }


def _groups_json(groups: dict[str, Tally], turns: dict[str, dict[int, Tally]]) -> dict[str, Any]:
    return {name: {**_tally_json(t), "turns": _by_turns_json(turns[name])} for name, t in groups.items()}


def _over_refusal_json(figure: OverRefusal) -> dict[str, Any]:
    return {"rate": figure.rate, "n": figure.n, "denied": figure.denied, "errors": figure.errors}
