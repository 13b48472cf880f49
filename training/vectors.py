"""The int8 encoder over whole dialogues: what the head will see at run time, and so what it learns from."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from safemt.moderation.detectors.embedded.features import (
    Floats,
    Probe,
    TurnLogits,
    support_reading,
    turn_features,
    worst_reading,
)
from safemt.moderation.detectors.embedded.reading import split_views
from safemt.moderation.detectors.embedded.unigram import Unigram
from safemt.moderation.detectors.embedded.windows import context_window, ends, part_window, parts

Window = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTurn:
    """What is known of one turn before the head."""

    features: Floats
    """[FEATURES]"""
    readings: Floats
    """[2 + 17]: of its worst window."""
    support: float


class Vectors:
    """Encodes texts and keeps every reading: the same turn stands in many dialogues."""

    def __init__(self, encoder: Path, tokenizer: Unigram, probe: Probe, *, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(str(encoder), options, providers=["CPUExecutionProvider"])
        self._threads = threads
        self._tokenizer = tokenizer
        self._probe = probe
        self._found: dict[Window, Floats] = {}

    def read(self, dialogues: Sequence[Sequence[str]]) -> list[list[ReadTurn]]:
        """Every turn of every dialogue of user turns."""
        planned = [[self._windows(turns, place) for place in range(len(turns))] for turns in dialogues]
        self._encode(window for turns in planned for turn in turns for kind in turn for window in kind)
        return [[self._turn(*turn) for turn in turns] for turns in planned]

    def _windows(self, turns: Sequence[str], place: int) -> tuple[list[Window], list[Window], list[Window]]:
        tokens = self._tokenizer.tokens
        plain, hidden = split_views([turns[place]])
        before = [ends(tokens(text)) for text in turns[max(0, place - 8) : place]]
        return (
            [tuple(part_window(part)) for text in plain for part in parts(text, tokens)],
            [tuple(part_window(part)) for text in hidden for part in parts(text, tokens)],
            [tuple(context_window(before, tokens(text))) for text in plain[:2]],
        )

    def _turn(self, typed: list[Window], hidden: list[Window], context: list[Window]) -> ReadTurn:
        turn = TurnLogits(parts=self._of(typed), hidden=self._of(hidden), context=self._of(context))
        return ReadTurn(
            features=turn_features(turn),
            readings=worst_reading(turn),
            support=support_reading(turn),
        )

    def _of(self, windows: Sequence[Window]) -> Floats:
        rows = [self._found[window] for window in dict.fromkeys(windows)]
        return np.stack(rows) if rows else np.zeros((0, len(self._probe.bias)), np.float32)

    def _encode(self, windows: Iterable[Window]) -> None:
        """One window at a time, as at run time: the scale of the quantisation comes from a whole batch."""
        new = sorted(set(windows) - self._found.keys(), key=len)
        with ThreadPoolExecutor(self._threads) as pool:
            self._found.update(zip(new, pool.map(self._logits, new), strict=True))

    def _logits(self, window: Window) -> Floats:
        ids = np.array([window], np.int64)
        vector = self._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
        return self._probe.logits(vector)[0]
