"""Measures what a build is worth: every row of the table in docs/building.md.

    python perf/build_quality.py BENCHMARK [--chats CHATS] [--grammar 400]

`CHATS` is a JSONL file of real conversations (MT-Bench-101: `turns` or `history`), against which grammar
findings are compared. Self-BLEU is over 200 dialogues of each method with four turns, drawn with seed 0.
"""

import argparse
import gzip
import json
import math
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from safemt.build.words import grams, words

Row = Mapping[str, Any]
ALIKE: Final = 0.3
SAMPLE: Final = 200
VERBATIM: Final = 0.9


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--chats", type=Path)
    parser.add_argument("--grammar", type=int, default=400)
    options = parser.parse_args()
    rows = [json.loads(line) for line in _lines(options.benchmark / "samples.jsonl")]
    harmful = [row for row in rows if not row["twin_of"]]
    twins = {(row["twin_of"], row["turns"]): row for row in rows if row["twin_of"]}
    content = Content()
    _print(_words_rows(harmful, content))
    _print(_variety_rows(harmful))
    _print(_twin_rows(harmful, twins))
    if options.grammar:
        _print(_grammar_rows(harmful, options.chats, options.grammar))


class Content:
    """Content words by a tagger: nouns, verbs, adjectives, adverbs and numbers, as lemmas, without orders."""

    def __init__(self) -> None:
        from safemt.build.understanding.parse import MODEL, open_parser
        from safemt.build.understanding.tokens import is_content, lemma_of

        self._parser = open_parser(MODEL)
        self._is_content, self._lemma = is_content, lemma_of
        self._known: dict[str, frozenset[str]] = {}

    def wanted(self, text: str) -> frozenset[str]:
        """The content words of a query."""
        return frozenset(self._lemma(token) for token in self._parser(text) if self._is_content(token))

    def lemmas(self, text: str) -> frozenset[str]:
        """Every word of a text, as it stands and as a lemma."""
        if text not in self._known:
            found = self._parser(text)
            self._known[text] = frozenset({self._lemma(t) for t in found} | {t.lower_ for t in found})
        return self._known[text]


def _words_rows(harmful: Sequence[Row], content: Content) -> list[tuple[str, str, str]]:
    whole: list[float] = []
    carried: list[bool] = []
    verbatim: list[bool] = []
    by_turn: list[list[float]] = [[] for _ in range(4)]
    for row in harmful:
        if row["turns"] == 1:
            continue
        wanted = content.wanted(row["question"])
        if not wanted:
            continue
        users = [content.lemmas(m["content"]) for m in row["dialogue"] if m["role"] == "user"]
        shown = content.lemmas(row.get("image_words") or "")
        text = frozenset[str]().union(*users)
        whole.append(len(wanted & (text | shown)) / len(wanted))
        carried.append(bool((wanted & shown) - text))
        if row["method"] != "in_context":
            verbatim.append(len(wanted & users[-1]) / len(wanted) >= VERBATIM)
        if row["turns"] == 4 and row["method"] != "in_context":
            for place, said in enumerate(users):
                by_turn[place].append(len(wanted & said) / len(wanted))
    mean = " ".join(f"{sum(found) / len(found):.2f}" for found in by_turn if found)
    return [
        ("last turn holds >= 90 % of the query (not in_context)", _share(verbatim), "<= 15 %"),
        ("query's words by user turn, k = 4", mean, "rising, >= .05 first, last <= .75"),
        (
            "dialogue and picture hold >= 80 % of the query",
            _share(value >= 0.8 for value in whole),
            ">= 95 %",
        ),
        ("picture carries words that the text lacks", _share(carried), ">= 50 %"),
    ]


def _variety_rows(harmful: Sequence[Row]) -> list[tuple[str, str, str]]:
    found = []
    by_method: dict[str, list[Row]] = defaultdict(list)
    for row in harmful:
        if row["turns"] == 4:
            by_method[row["method"]].append(row)
    scores = []
    for method, own in sorted(by_method.items()):
        chosen = random.Random(0).sample(own, min(SAMPLE, len(own)))
        score = self_bleu([_user_words(row) for row in chosen])
        scores.append(f"{method} {score:.2f}")
    everything = [row for own in by_method.values() for row in own]
    pooled = random.Random(0).sample(everything, min(SAMPLE, len(everything)))
    scores.append(f"all {self_bleu([_user_words(row) for row in pooled]):.2f}")
    found.append(("self-BLEU, user, k = 4", ", ".join(scores), "<= .45"))
    shares = []
    for turns in sorted({row["turns"] for row in harmful} - {1}):
        own = [row for row in harmful if row["turns"] == turns]
        parts = [f"{_alike(own):.0%}"]
        parts += [
            f"{method} {_alike([row for row in own if row['method'] == method]):.0%}"
            for method in sorted({row["method"] for row in own})
        ]
        shares.append(f"k={turns}: {' '.join(parts)}")
    found.append(("histories that share > 30 % of 5-grams", "; ".join(shares), "<= 15 %"))
    return found


def _user_words(row: Row) -> list[str]:
    return [word for m in row["dialogue"] if m["role"] == "user" for word in words(m["content"])]


def self_bleu(documents: Sequence[Sequence[str]]) -> float:
    """Mean BLEU-4 of each document against all others, without a brevity penalty."""
    counts = [[Counter(grams(document, n)) for n in (1, 2, 3, 4)] for document in documents]
    total = 0.0
    best: list[dict[tuple[str, ...], tuple[int, int, int]]] = [{} for _ in range(4)]
    for place, own in enumerate(counts):
        for n in range(4):
            for gram, count in own[n].items():
                first, second, who = best[n].get(gram, (0, 0, -1))
                best[n][gram] = (count, first, place) if count > first else (first, max(second, count), who)
    for place, own in enumerate(counts):
        logs = 0.0
        for n in range(4):
            size = sum(own[n].values())
            hits = 0
            for gram, count in own[n].items():
                first, second, who = best[n][gram]
                hits += min(count, second if who == place else first)
            logs += math.log((hits or 0.1) / max(size, 1)) / 4
        total += math.exp(logs)
    return total / max(1, len(documents))


def _alike(rows: Sequence[Row]) -> float:
    """The share of histories that have more than 30 % of their 5-grams in common with another one."""
    histories = [{g for m in row["dialogue"][:-1] for g in grams(words(m["content"]))} for row in rows]
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, history in enumerate(histories):
        for gram in history:
            places[gram].append(place)
    above = counted = 0
    for place, history in enumerate(histories):
        if not history:
            continue
        counted += 1
        shared = Counter(other for gram in history for other in places[gram] if other != place)
        above += bool(shared) and max(shared.values()) > ALIKE * len(history)
    return above / max(1, counted)


def _twin_rows(harmful: Sequence[Row], twins: Mapping[tuple[str, int], Row]) -> list[tuple[str, str, str]]:
    pairs = [
        (row, twins[row["query_id"], row["turns"]])
        for row in harmful
        if (row["query_id"], row["turns"]) in twins
    ]
    long = [(a, b) for a, b in pairs if a["turns"] >= 4]
    ratios = [_length(b) / _length(a) for a, b in pairs if a["turns"] > 1]
    return [
        (
            "twin histories equal to the harmful one, k >= 4",
            _share(a["dialogue"][:-1] == b["dialogue"][:-1] for a, b in long),
            "<= 10 %",
        ),
        ("twins within 20 % of the length", _share(0.8 <= ratio <= 1.2 for ratio in ratios), "all"),
    ]


def _length(row: Row) -> int:
    return sum(len(words(m["content"])) for m in row["dialogue"]) or 1


def _grammar_rows(harmful: Sequence[Row], chats: Path | None, count: int) -> list[tuple[str, str, str]]:
    chosen = random.Random(0).sample([row for row in harmful if row["turns"] > 1], count)
    ours = _findings([m["content"] for row in chosen for m in row["dialogue"]])
    text = f"{ours:.2f} findings per 100 words"
    if chats is not None:
        texts = _chat_texts(chats, count)
        theirs = _findings(texts)
        text += f", chats {theirs:.2f}, ratio {ours / theirs:.2f}"
    return [("grammar findings (harper)", text, "<= 1.2 x")]


def _findings(texts: Iterable[str]) -> float:
    from harper import Linter

    linter = Linter()
    found = size = 0
    for text in texts:
        found += len(linter.lint(text))
        size += len(words(text))
    return 100 * found / max(1, size)


def _chat_texts(path: Path, count: int) -> list[str]:
    rows = [json.loads(line) for line in _lines(path)]
    chosen = random.Random(0).sample(rows, min(count, len(rows)))
    return [turn["content"] for row in chosen for turn in row["turns"]]


def _lines(path: Path) -> Iterable[str]:
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        yield from file


def _share(values: Iterable[bool]) -> str:
    found = list(values)
    return f"{sum(found) / len(found):.1%}" if found else "none"


def _print(rows: Sequence[tuple[str, str, str]]) -> None:
    for name, value, goal in rows:
        sys.stdout.write(f"{name}: {value} (goal {goal})\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
