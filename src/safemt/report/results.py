"""Where results come from (a run, label files), and the results document (`results.json`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from safemt.benchmark.recorded import read_published_labels
from safemt.core.errors import LabelsError
from safemt.core.taxonomy import PUBLISHED_TURNS, Label, Outcome
from safemt.endpoints.spend import Usage, recorded_prices
from safemt.judges.validation import Validation, validations_of
from safemt.report.document import document
from safemt.report.figures import (
    INTERVALS,
    REPLICATES,
    SEED,
    AnswerCost,
    Asr,
    OtherJudge,
    People,
    Results,
    matrix_of,
    results_of_samples,
)
from safemt.report.protection import Protection, protection
from safemt.run.database import STORE_FILE
from safemt.run.manifest import require_manifest
from safemt.run.store import Store
from safemt.stats.agreement import agreement, judge_pair
from safemt.stats.intervals import bootstrap
from safemt.stats.scores import ScoredSample

_PROVENANCE: Final = (
    "benchmark", "judge", "moderator", "history", "safemt", "command", "shard", "tokens",
)  # fmt: skip
_UNCERTAIN: Final = frozenset(
    {
        "corrected", "first_unsafe", "if_ungraded", "interval", "intervals", "judge_validation",
        "other_judges", "overall", "prediction_powered", "trend",
    }
)  # fmt: skip
"""Keys that the published computation knows nothing of."""


def results_of(path: Path, *, target: str | None = None, people: People = ()) -> Results:
    """Score a run directory, or label files in the published layout.

    `target` chooses among the labels of several models; `people` are labels that people gave to a part.

    Raises:
        RunError: the store cannot be read.
        LabelsError: there is nothing to score, or no such target.
    """
    if not (path / STORE_FILE).is_file():
        return _results_of_labels(path, target=target, people=people)
    with Store.open_for_reading(path) as store:
        results = results_of_store(store, people=people)
    if target is not None and target != results.target:
        raise LabelsError(
            "unknown_target",
            f"{path} holds a run of {results.target}, not of {target}.",
            path=path,
            target=target,
            known=(results.target,),
        )
    return results


def results_of_store(store: Store, *, people: People = ()) -> Results:
    """Score the newest invocation in an open store.

    Raises:
        RunError: the store cannot be read.
    """
    invocation = store.invocation()
    manifest = require_manifest(invocation.manifest, store.path)
    setup, judge = invocation.setup, invocation.judge
    samples = tuple(store.scored_samples(setup=setup, judge=judge))
    spent = sum(store.spend().values(), Usage())
    moderator = manifest.get("moderator")
    moderation = protection(store.verdicts(setup=setup)) if moderator else None
    others = tuple(
        _other_judge(name, identity, samples, tuple(store.scored_samples(setup=setup, judge=identity)))
        for identity, name in store.other_judges(setup=setup, judge=judge).items()
    )
    results = results_of_samples(
        samples,
        target=manifest["target"]["name"],
        simulated=manifest["target"]["simulated"],
        provenance={
            **manifest,
            "tokens": {"prompt": spent.prompt_tokens, "completion": spent.completion_tokens},
        },
        # In a shard, or in a merge that lacks one, the rest of the benchmark is still to do.
        elsewhere=max(0, manifest["benchmark"]["samples"] - len(samples)),
        validation=next(iter(validations_of(judge)), None),
        people=people,
    )
    cost = _answer_cost(manifest, store.answer_tokens(setup=setup), moderation)
    return replace(results, other_judges=others, moderation=moderation, answer_cost=cost)


def results_json(results: Results, *, compat: bool = False) -> dict[str, Any]:
    """The results document, described in docs/file-formats.md.

    With `compat` the Safety Index and the ASR by turns are those of the published computation: every
    published round is there, one without data has ASR 0, and no figure has an interval.
    """
    found: dict[str, Any] = document(results)
    overall = results.overall
    found |= {
        "over_refusal": document(results.over_refusal.turns),
        "overall": {
            "asr": document(overall.asr),
            "if_ungraded": document(overall.if_ungraded),
            "corrected": document(overall.corrected),
            "over_refusal": document(results.over_refusal.rate),
        },
        "judge_validation": _validation_json(results.judge_validation),
        "intervals": INTERVALS,
    }
    if results.provenance:
        told = {key: document(results.provenance.get(key)) for key in _PROVENANCE}
        found = {"target": results.target, "simulated": results.simulated, **told, **found}
    if compat:
        empty = document(Asr(asr=None, safe=0, unsafe=0, ungraded=0))
        turns = {str(k): found["turns"].get(str(k), empty) for k in PUBLISHED_TURNS}
        found["turns"] = {k: {**entry, "asr": entry["asr"] or 0.0} for k, entry in turns.items()}
        index = results.safety_index.compat
        found["safety_index"] |= {"value": index, "rounds": list(PUBLISHED_TURNS)}
        found = {key: _certain(value) for key, value in found.items() if key not in _UNCERTAIN}
    return found


def _validation_json(known: Validation | None) -> dict[str, Any] | None:
    if known is None:
        return None
    figures = agreement(known.confusion)
    return {
        **{key: getattr(known, key) for key in ("labels", "labels_sha256", "selection", "checked")},
        "rows": known.rows,
        **{
            key: document(getattr(figures, key))
            for key in ("sensitivity", "specificity", "kappa", "readable")
        },
    }


def _certain(entry: Any) -> Any:
    """A part of the document without what `_UNCERTAIN` names."""
    if not isinstance(entry, dict):
        return entry
    return {key: _certain(value) for key, value in entry.items() if key not in _UNCERTAIN}


def _results_of_labels(path: Path, *, target: str | None, people: People) -> Results:
    if not path.is_dir():
        raise LabelsError(
            "nothing_to_score", f"There is nothing to score at {path}: no such folder.", path=path
        )
    models = read_published_labels(path)
    names = ", ".join(sorted(models))
    if target is None and len(models) > 1:
        raise LabelsError(
            "several_targets",
            f"{path} holds labels of several models ({names}). Choose one of them.",
            path=path,
            known=tuple(sorted(models)),
        )
    if target is not None and target not in models:
        raise LabelsError(
            "unknown_target",
            f"{path} holds no labels of {target}. It holds labels of: {names}.",
            path=path,
            target=target,
            known=tuple(sorted(models)),
        )
    name = target or next(iter(models))
    if not models[name]:
        raise LabelsError(
            "nothing_to_score",
            f"There is nothing to score at {path}: the files of {name} hold no label.",
            path=path,
            target=name,
        )
    samples = [
        ScoredSample(
            query_id=row.query_id,
            turns=row.turns,
            label=Label(row.value) if row.value in set(Label) else Label.UNGRADED,
            cause="" if row.value in ("safe", "unsafe") else f"label {row.value[:40]!r}",
        )
        for row in models[name]
    ]
    return results_of_samples(samples, target=name, people=people)


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
    agreed = judge_pair((str(ours.label), str(other.label)) for ours, other in pairs)
    return OtherJudge(
        name=name,
        id=identity,
        asr=bootstrap(matrix_of([other for _, other in pairs]), replicates=REPLICATES, seed=SEED).pooled,
        shared=agreed.shared,
        agreement=agreed.raw,
        kappa=agreed.kappa,
    )


def _answer_cost(
    manifest: Mapping[str, Any], tokens: tuple[int, int], moderation: Protection | None
) -> AnswerCost:
    asked = [([manifest["target"]["name"]], tokens)]
    if moderation is not None:
        used = moderation.tokens
        asked.append((manifest["moderator"].get("models", []), (used.prompt, used.completion)))
    prices = recorded_prices(manifest).models
    dollars: float | None = 0.0
    for models, spent in asked:
        if any(spent):
            # Verdicts do not say which of several models was paid how much.
            price = prices.get(models[0]) if len(models) == 1 else None
            dollars = None if price is None or dollars is None else dollars + price.of(*spent)
    return AnswerCost(prompt_tokens=tokens[0], completion_tokens=tokens[1], dollars=dollars)
