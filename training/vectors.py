"""The int8 encoder over whole dialogues: what the head will see at run time, and so what it learns from."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from safemt.moderation.detectors.embedded.features import Floats, Probe, turn_features
from safemt.moderation.detectors.embedded.windows import context_window, turn_windows

Window = tuple[int, ...]


class Vectors:
    """Encodes texts and keeps every vector: the same turn stands in many dialogues."""

    def __init__(self, encoder: Path, tokenizer: Tokenizer, *, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(str(encoder), options, providers=["CPUExecutionProvider"])
        self._threads = threads
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}
        self._found: dict[Window, Floats] = {}

    def features(self, dialogues: Sequence[Sequence[str]], probe: Probe) -> list[Floats]:
        """For each dialogue of user turns [turns, features]."""
        self._tokenise({text for turns in dialogues for text in turns})
        self._encode(
            window
            for turns in dialogues
            for place in range(len(turns))
            for window in (*self._alone(turns, place), self._behind(turns, place))
        )
        return [self._dialogue(turns, probe) for turns in dialogues]

    def _dialogue(self, turns: Sequence[str], probe: Probe) -> Floats:
        rows = []
        for place in range(len(turns)):
            windows = np.stack([self._found[window] for window in self._alone(turns, place)])
            rows.append(turn_features(probe, windows, self._found[self._behind(turns, place)][None]))
        return np.stack(rows)

    def _alone(self, turns: Sequence[str], place: int) -> list[Window]:
        return [tuple(window) for window in turn_windows(self._ids[turns[place]])]

    def _behind(self, turns: Sequence[str], place: int) -> Window:
        before = [self._ids[text] for text in turns[:place]]
        return tuple(context_window(before, self._ids[turns[place]]))

    def _tokenise(self, texts: Iterable[str]) -> None:
        new = sorted(text for text in texts if text not in self._ids)
        codes = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        self._ids.update((text, code.ids) for text, code in zip(new, codes, strict=True))

    def _encode(self, windows: Iterable[Window]) -> None:
        """One window at a time, as at run time: the scale of the quantisation comes from a whole batch."""
        new = sorted(set(windows) - self._found.keys(), key=len)
        with ThreadPoolExecutor(self._threads) as pool:
            self._found.update(zip(new, pool.map(self._vector, new), strict=True))

    def _vector(self, window: Window) -> Floats:
        ids = np.array([window], np.int64)
        found: Floats = self._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
        return found
