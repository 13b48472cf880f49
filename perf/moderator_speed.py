"""What the embedded moderator takes: for a new turn, for turn 50 against turn 2, for a picture, to start.

    python -m perf.moderator_speed [--turns 1000]

One thread, each part in a process of its own. Times are given on the clock and in processor time; on a
machine that does other work only the latter says what the moderator took. Turns are 50 tokens of harmless
words in a new order each, so that none is remembered from before. Pictures need the extra `ocr`, and the
process that reads them shows on the clock alone.
"""

import argparse
import io
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from safemt.core.schema import ImageRef, Message
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.io.images import received_image
from safemt.moderation.detectors.embedded.detector import EmbeddedDetector, EmbeddedReading
from safemt.moderation.moderator import wait_for

TOKENS: Final = 50
TURNS_EACH: Final = 50
"""Of one conversation."""
PICTURES: Final = 20
TEXT: Final = """
    the garden lies behind a house and in summer we water it each evening when sun is low over wood then
    snails come out of hedge to eat what young plants there are so my neighbour asked how one keeps them away
    without harm to birds who like them too maybe you know some old ways that still work for small green beds
"""
WORDS: Final = TEXT.split()

ASK: Final[Ask] = ChatEndpoint.complete
"""Never called: the detector asks nobody."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One measurement, in milliseconds."""

    clock: float
    processor: float


def spent(task: Callable[[], object]) -> Spent:
    """What one call takes in this process."""
    clock, processor = time.perf_counter(), time.process_time()
    task()
    return Spent(1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor))


def turn_of(detector: EmbeddedDetector, chance: random.Random) -> str:
    """A text of `TOKENS` tokens."""
    words = chance.choices(WORDS, k=TOKENS)
    while len(detector.model.tokenizer.tokens(" ".join(words))) > TOKENS:
        words.pop()
    return " ".join(words)


def say(reading: EmbeddedReading, *parts: str | ImageRef) -> None:
    """Take in a user's message and assess the conversation."""
    wait_for(reading.add(Message("user", parts)), calls=False)
    wait_for(reading.assess(), calls=False)


def tell(line: str) -> None:
    """Print at once: the parts write to one output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def row(name: str, times: Sequence[Spent]) -> str:
    """A line of the table: percentiles on the clock and in processor time."""
    cells = [
        f"{np.percentile([getattr(each, kind) for each in times], percentile):.1f}"
        for kind in ("clock", "processor")
        for percentile in (50, 95, 99)
    ]
    return f"| {name} | {len(times)} | " + " | ".join(cells) + " |"


def measure_turns(turns: int) -> None:
    """Times of new turns, of the second and the last of a conversation, of long and of known ones."""
    detector = EmbeddedDetector.load(pictures=False)
    chance = random.Random(1)
    say(detector.open(ASK), turn_of(detector, chance))
    by_place: list[list[Spent]] = [[] for _ in range(TURNS_EACH)]
    for _ in range(max(1, turns // TURNS_EACH)):
        reading = detector.open(ASK)
        for place in range(TURNS_EACH):
            text = turn_of(detector, chance)
            by_place[place].append(spent(partial(say, reading, text)))
    tell(row("new turn of 50 tokens", [each for times in by_place for each in times]))
    tell(row("· turn 2 of a conversation", by_place[1]))
    tell(row("· turn 50 of a conversation", by_place[-1]))
    again = detector.open(ASK)
    text = turn_of(detector, chance)
    say(again, text)
    tell(row("turn known from another conversation", [
        spent(partial(say, detector.open(ASK), text)) for _ in range(100)
    ]))  # fmt: skip
    for size in (2000, 5_000_000):
        long = " ".join(chance.choices(WORDS, k=size // 5))[:size]
        tell(row(f"turn of {size:,} characters", [spent(partial(say, detector.open(ASK), long))]))
    late, early = (np.median([each.processor for each in by_place[place]]) for place in (-1, 1))
    tell(f"\nTurn 50 takes {late / early:.2f} times what turn 2 takes.")
    tell(f"Peak memory with all of the above: {peak():.0f} MB.")


def measure_start() -> None:
    """From the interpreter's start, which the parent took, to the first assessment; and the memory then."""
    say(EmbeddedDetector.load(pictures=False).open(ASK), "How should one water the garden in summer?")
    since = time.time() - float(os.environ["SAFEMT_STARTED"])
    tell(f"{since} {time.process_time()} {peak()}")


def measure_pictures() -> None:
    """Times of new pictures with a few lines of text, and of the same ones again."""
    from PIL import Image, ImageDraw, ImageFont

    detector = EmbeddedDetector.load()
    if detector.reader is None:
        tell("| pictures: the extra `ocr` is not installed | | | | | | | |")
        return
    chance = random.Random(2)
    pictures = []
    for _ in range(PICTURES + 1):
        image = Image.new("RGB", (760, 760), "white")
        for line in range(5):
            words = " ".join(chance.sample(WORDS, 3))
            ImageDraw.Draw(image).text((20, 20 + 90 * line), words, "black", ImageFont.load_default(64))
        file = io.BytesIO()
        image.save(file, "PNG")
        pictures.append(received_image(file.getvalue()))
    tell(row("first picture (the reader starts)", [spent(partial(say, detector.open(ASK), pictures[0]))]))
    for name in ("new picture of five lines", "the same pictures again"):
        tell(row(name, [
            spent(partial(say, detector.open(ASK), each)) for each in pictures[1:]
        ]))  # fmt: skip
    reader = detector.reader
    tell(row("· reading alone, again", [
        spent(partial(reader.read, each)) for each in pictures[1:]
    ]))  # fmt: skip
    reader.close()
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    tell(f"\nPeak memory of this process {peak():.0f} MB, of the one that reads pictures {children:.0f} MB.")


def peak() -> float:
    """Peak resident memory of this process, MB (2^20 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run each part in its own process and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--part", choices=["turns", "start", "pictures"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "turns":
        return measure_turns(options.turns)
    if options.part == "start":
        return measure_start()
    if options.part == "pictures":
        return measure_pictures()
    command = [sys.executable, "-m", "perf.moderator_speed", "--turns", str(options.turns), "--part"]
    tell("| what | n | clock p50, ms | p95 | p99 | processor p50, ms | p95 | p99 |")
    tell("|---|---|---|---|---|---|---|---|")
    for part in ("turns", "pictures"):
        subprocess.run([*command, part], check=True)
        tell("")
    starts = []
    for _ in range(5):
        environment = os.environ | {"SAFEMT_STARTED": str(time.time())}
        said = subprocess.run(
            [*command, "start"], check=True, capture_output=True, text=True, env=environment
        )
        starts.append(tuple(map(float, said.stdout.split())))
    clock, processor, memory = np.median(starts, axis=0)
    tell(f"Cold start to the first verdict: {clock:.2f} s on the clock, {processor:.2f} s of processor time.")
    tell(f"Memory after it: {memory:.0f} MB.")
    return None


if __name__ == "__main__":
    main()
