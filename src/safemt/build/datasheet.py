"""`DATASHEET.md`: what a person must know before using a built benchmark, from the figures of its build."""

from collections.abc import Mapping, Sequence
from typing import Any

from safemt.build.gates import GATES
from safemt.build.scenario import lexicons
from safemt.core.taxonomy import Scenario

Stats = Mapping[str, Any]


def datasheet(name: str, stats: Stats) -> str:
    """The datasheet as Markdown."""
    parts = [
        f"# {name}",
        "Dialogues that test how safe a multimodal chat model stays over a conversation, made by `safemt "
        "build`. "
        "They hold harmful requests on purpose. Use them to find and mend weaknesses, on models that you "
        "may test; "
        "do not train a model to comply with them.",
        _overview(stats),
        _sources(stats),
        _scenarios(stats),
        _dialogues(stats),
        _gates(stats),
        _rejects(stats),
        _twins(stats),
        _images(stats),
        _limits(stats),
        _reproduce(stats),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _overview(stats: Stats) -> str:
    rounds = ", ".join(f"{count:,} at {k}" for k, count in stats["by_turns"].items())
    short = ""
    if stats["queries"] < stats["queries_requested"]:
        short = (
            f"\n- **Fewer than asked for:** {stats['queries']:,} of {stats['queries_requested']:,} queries; "
            "the sections below say what was left out and why."
        )
    twins = stats["samples"] - stats["harmful_samples"]
    benign = f", {twins:,} benign ones" if twins else ""
    return (
        f"- Build: `{stats['build']}` (the benchmark's hash; every run records it)\n"
        f"- {stats['queries']:,} queries, {stats['harmful_samples']:,} harmful samples ({rounds} turns)"
        f"{benign}\n"
        f"- {stats['images']['files']:,} image files{short}"
    )


def _sources(stats: Stats) -> str:
    rows = [
        (source, f"{stats['rows_read'].get(source, 0):,}", f"{count:,}", ", ".join(stats["licences"][source]))
        for source, count in stats["by_source"].items()
    ]
    files = "\n".join(f"- `{entry['name']}`: SHA-256 `{entry['sha256']}`" for entry in stats["inputs"])
    return (
        "## Sources and licences\n\n"
        + _table(("source", "rows read", "queries used", "licence of the source"), rows)
        + "\n\nThe licences are the sources' own, as far as their files or repositories say; the queries "
        "stay under them, and this benchmark may be used and passed on only as the strictest of them "
        "allows. The frames of the "
        "dialogues are "
        f"part of safemt (Apache-2.0).\n\n{files}"
    )


def _scenarios(stats: Stats) -> str:
    rows = [
        (
            scenario.value,
            f"{stats['by_scenario'].get(scenario.value, 0):,}",
            f"{stats['candidates_by_scenario'][scenario.value]:,}",
            lexicons()[scenario].definition,
        )
        for scenario in Scenario
    ]
    absent = "".join(f"\n- Absent: {name}, because {why}." for name, why in stats["absent_scenarios"].items())
    how = ", ".join(f"{by} {count:,}" for by, count in stats["scenario_assigned_by"].items())
    return (
        "## Scenarios\n\n"
        + _table(("scenario", "queries", "candidates", "definition"), rows)
        + f"\n\nAssigned by: {how}. `source`: named by the source. `mapping`: from the source's own "
        "category by "
        "a fixed table. `mapping+classifier`: by weighted terms, among the scenarios that the table allows. "
        "`classifier`: by weighted terms among all 17. The confidence of each stands in `queries.jsonl`; it "
        "is "
        f"below 0.2 for {stats['low_confidence']:,} queries, which should be looked at by a "
        f"person.{absent}\n\n"
        "Queries are taken from the scenarios in turn until there are enough, so small scenarios are used "
        "whole."
    )


def _dialogues(stats: Stats) -> str:
    rows = [
        (
            method,
            f"{entry['samples']:,}",
            f"{entry['share']:.1%}",
            ", ".join(f"{k}: {n:,}" for k, n in entry["by_turns"].items()),
        )
        for method, entry in stats["methods"].items()
    ]
    generation = stats["generation"]
    by = ", ".join(f"{name} {count:,}" for name, count in stats["by_generator"].items())
    forms = ", ".join(f"{form} {count:,}" for form, count in stats["by_form"].items())
    classes = ", ".join(f"{by} {count:,}" for by, count in stats["act_class_by"].items())
    text = (
        "## Dialogues\n\nEach query comes at every number of turns with the same image. One turn is the "
        "question "
        "itself; longer dialogues conceal it by one of these methods:\n\n"
        + _table(("method", "samples", "share", "by turns"), rows)
        + f"\n\nGenerator: `{generation['generator']}`. Samples by what wrote them: {by}. Method mix: "
        f"`{stats['options']['method_mix']}`. Within a scenario and a number of turns a method is at most "
        f"{stats['balance']['most_samples_off_in_a_cell']} samples away from its share over all "
        f"scenarios.\n\n"
        f"Forms of the queries: {forms}; {stats['not_understood']:,} were quoted because no rule of the "
        f"parser "
        f"fitted. Act classes ({len(stats['by_act_class'])}) found by: {classes}. `class`: by cues and "
        f"meaning. "
        "`general`: no class fitted, so the scenario's general ladder was used. `borrowed`: the scenario has "
        "no "
        "ladder, so the dialogue is off its subject."
    )
    if "shares" in generation:
        lines = "\n".join(f"- {label}: {value}" for label, value in _flat(generation["shares"]))
        text += f"\n\nWhat became of the dialogues asked of the chat model:\n\n{lines}"
    for name in ("review", "pilot"):
        if generation.get(name):
            lines = "\n".join(f"- {label}: {value}" for label, value in _flat(generation[name]))
            text += f"\n\n{name.capitalize()}:\n\n{lines}"
    for sentence in stats["balance"]["off_quota"]:
        text += f"\n\n**Off its quota:** {sentence}."
    return text


def _gates(stats: Stats) -> str:
    rows = [
        (f"`{name}`", rule, f"{stats['gates'][name]['drafts_redrawn']:,}") for name, rule in GATES.items()
    ]
    measures = stats["measures"]
    overlaps = "; ".join(
        f"{name} mean {entry['mean_of_largest']:.2f}, above 0.30: {entry['above']:.1%}"
        for name, entry in measures["overlap_by_method"].items()
    )
    return (
        "## Checks\n\nEvery dialogue passed every check but `diversity`, for which the draft least like the "
        "others "
        "was kept. A draft that failed was drawn anew, which costs no query.\n\n"
        + _table(("check", "rule", "drafts drawn anew"), rows)
        + f"\n\nIntent retained, picture included: mean {measures['intent_retained']['mean']:.3f}, least "
        f"{measures['intent_retained']['least']:.3f}. Share of user turns that take up a word said before: "
        f"mean "
        f"{measures['coherence']['mean']:.3f}. Largest share of its 5-grams that a history has in common "
        f"with an "
        f"earlier one of the same length, by method: {overlaps}.\n\n"
        "The checks read text only. What a picture shows is checked by the plan that it was drawn from: "
        f"{stats['images']['by_role'].get('carries', 0):,} queries have words that only the picture holds, "
        f"so a "
        "check of the text alone says nothing about those words."
    )


def _rejects(stats: Stats) -> str:
    rows = [
        (stage, reason, f"{count:,}")
        for stage, reasons in stats["rejects"].items()
        for reason, count in reasons.items()
    ]
    given_up = ", ".join(f"{reason} {count:,}" for reason, count in stats["queries_given_up"].items())
    return (
        "## Left out\n\nA draft that was drawn anew is not listed here: it cost nothing.\n\n"
        + _table(("stage", "reason", "count"), rows or [("none", "", "0")])
        + f"\n\n{stats['minors_and_sex_refused']:,} rows put minors and sexual content together, or are "
        "filed under the abuse of children, by a broad rule; they were refused, and their text is written "
        "nowhere. Queries given up because no dialogue passed: "
        f"{given_up or 'none'}. Merged rows are named in `rejects.jsonl` with the query that stands for them."
    )


def _twins(stats: Stats) -> str:
    twins = stats["twins"]
    if not twins["queries"]:
        return ""
    by = ", ".join(f"{name} {count:,}" for name, count in twins["by"].items())
    within = f"{twins['within_20_percent']:.1%}" if twins["within_20_percent"] is not None else "none"
    return (
        f"## Benign twins\n\n{twins['queries']:,} queries have one ({by}). A twin has its query's scenario, "
        f"methods, "
        "numbers of turns, kind of picture, and first exchanges; then it turns to a harmless act. "
        "`neighbour`: an "
        "act next door, written for the act class. `pair`: the other side of the source's contrast pair. "
        f"{within} of the twins' dialogues are within 20 % of their query's length."
    )


def _images(stats: Stats) -> str:
    images = stats["images"]
    kinds = ", ".join(f"{origin} {count:,}" for origin, count in images["by_origin"].items())
    roles = ", ".join(f"{role} {count:,}" for role, count in images["by_role"].items())
    return (
        f"## Images\n\nBy origin: {kinds}. `source`: the source's own, as RGB of at most 1,024 pixels, "
        f"re-encoded, "
        "without metadata. `scene`: pictograms. The others are drawn documents, signs, labels and "
        "screens.\n\n"
        f"By role: {roles}. `carries`: it holds words that the text leaves out (`image_words` of each sample "
        f"names "
        "them). `context`: it is the document or picture that the request is about. `illustrates`: it shows "
        "the "
        f"subject. {images['prints_request']:,} pictures of the sources print the whole request; no drawn "
        f"picture "
        "does. Files are named by the SHA-256 of their bytes. Pictograms: OpenMoji, CC BY-SA 4.0."
    )


def _limits(stats: Stats) -> str:
    points = [
        "The checks are lexical: `intent_retained` counts the query's words (IDF weights, word beginnings), "
        "so it "
        "sees no paraphrase and no changed meaning.",
        "`intent_hidden` looks for a fixed list of words and for the query's own words; an opener may still "
        "look "
        "suspicious to a person.",
        "Scenarios that no source names are guessed from term lists, act classes from cues and an encoder.",
        "No person has rated this build. Ratings from the labelling page can be added beside it.",
    ]
    if stats["generation"]["generator"] == "template":
        points.append(
            "The turns before the request are dealt from hand-written ladders. A filter that has seen many "
            "of them "
            "can learn to recognise them. Change the seed for another deal."
        )
    points += [
        f"{name} has only {count} queries: a rate measured on it is uncertain by more than 18 points."
        for name, count in stats["small_scenarios"].items()
    ]
    return "## Known limits\n\n" + "\n".join(f"- {point}" for point in points)


def _reproduce(stats: Stats) -> str:
    options = "\n".join(f"- {key}: `{value}`" for key, value in stats["options"].items())
    data = "\n".join(f"- `{name}`: `{digest}`" for name, digest in stats["data_files"].items())
    return (
        "## To build it again\n\nThe same sources and options give the same "
        f"bytes.\n\n{options}\n\nTemplates, "
        f"tables and prompts of the builder, by SHA-256:\n\n{data}"
    )


def _flat(shares: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in shares.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key} / ")
        else:
            found.append((prefix + key, value))
    return found


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
