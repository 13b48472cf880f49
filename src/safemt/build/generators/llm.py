"""`openai/MODEL`: a chat model writes the dialogues, within the limits and the store that a run uses.

Every reply is stored under the hash of its request before it is looked at, so a build that was killed asks
nothing twice. What the model refuses or spoils goes to the next method once, and then to the templates.
"""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson

from safemt.build.compose import Written
from safemt.build.gates import GATES, INTENT, Draft, Gates
from safemt.build.methods.registry import METHODS
from safemt.build.overlap import MOST, overlap
from safemt.build.progress import Progress
from safemt.build.queries import Query
from safemt.build.twins import twin_question
from safemt.build.words import dialogue_grams
from safemt.core.errors import CallError, RunStopped
from safemt.core.identity import Json, content_key
from safemt.core.schema import Message, Role
from safemt.core.taxonomy import Method
from safemt.endpoints.base import Reply, Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.limits import EndpointLimits
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.run.database import is_run
from safemt.run.store import Store

PROMPTS_VERSION: Final = 1
SAMPLING: Final = Sampling(temperature=0.8, max_output_tokens=3_000)
REPAIRS: Final = 2
"""How often the model is asked to mend one dialogue."""
FALLBACKS: Final = 1
"""How many other methods are tried after a refusal or a spoilt dialogue."""
_DOUBTFUL: Final = 0.25
"""Share of the query's words from which a paraphrase is worth asking the model about."""


@dataclass(frozen=True, slots=True)
class Job:
    """One dialogue to write."""

    query: Query
    question: str
    turns: int
    method: Method
    """The one that the plan wants."""


class _Failed(Exception):
    """One method failed for one job; `args[0]` says how: `refused`, `invalid`, or a gate's name."""


class LLMGenerator:
    """Asks one chat endpoint for dialogues."""

    def __init__(self, endpoint: ChatEndpoint, *, methods: Sequence[Method], concurrency: int) -> None:
        """`methods` are the ones to fall back on, in this order."""
        self.name = f"openai/{endpoint.model}"
        self._endpoint = endpoint
        self._methods = methods
        self._concurrency = concurrency
        self._limits = EndpointLimits(endpoint.origin, concurrency)
        self._outcomes: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._asked = self._stored = 0
        self._tokens = [0, 0]

    @property
    def identity(self) -> Json:
        """Everything that decides a reply besides the messages."""
        return {
            "kind": "build",
            "model": self._endpoint.model,
            "temperature": self._endpoint.sampling.temperature,
            "max_output_tokens": self._endpoint.sampling.max_output_tokens,
            "prompts": PROMPTS_VERSION,
        }

    def report(self) -> dict[str, Any]:
        """What became of the dialogues that were asked for."""
        total = sum(self._outcomes.values()) or 1
        return {
            "generator": self.name,
            "identity": self.identity,
            "dialogues_asked_for": sum(self._outcomes.values()),
            "shares": {
                name: f"{count:,} ({count / total:.1%})" for name, count in sorted(self._outcomes.items())
            },
            "faults": dict(sorted(self._faults.items())),
            "prompt_tokens": self._tokens[0],
            "completion_tokens": self._tokens[1],
        }

    def write_all(
        self,
        planned: Sequence[tuple[Query, Mapping[int, Method]]],
        *,
        store: Path,
        gates: Gates,
        language: str,
        twins: bool,
        seed: int,
        progress: Progress,
    ) -> dict[tuple[str, int], Written]:
        """The dialogues by question and turns; the ones that are missing are for the templates.

        Raises:
            RunStopped: the endpoint failed for good; what was answered is in the store.
            RunError: the store cannot be used.
        """
        jobs = [
            Job(query, question, turns, method)
            for query, methods in planned
            for question in (query.text, *([twin_question(query, seed, 0)[0]] if twins else []))
            for turns, method in methods.items()
        ]
        progress.stage(f"asking {self.name}", len(jobs))
        opened = Store.open_for_run(store)
        try:
            return asyncio.run(self._drive(jobs, opened, gates, language, progress))
        except RunStopped as stopped:
            raise RunStopped(f"{stopped} Continue this build with --resume.") from stopped
        finally:
            opened.close()

    async def _drive(
        self, jobs: Sequence[Job], store: Store, gates: Gates, language: str, progress: Progress
    ) -> dict[tuple[str, int], Written]:
        written: dict[tuple[str, int], Written] = {}
        queue = iter(jobs)

        async def work() -> None:
            for job in queue:
                found = await self._write(job, store, gates, language)
                if found is not None:
                    written[job.question, job.turns] = found
                progress.advance(f"{self._asked:,} calls, {self._stored:,} from the store")

        tasks = [asyncio.create_task(work()) for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*tasks)
        finally:
            self._limits.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._endpoint.close()
        return {
            (job.question, job.turns): found
            for job in jobs
            if (found := written.get((job.question, job.turns)))
        }

    async def _write(self, job: Job, store: Store, gates: Gates, language: str) -> Written | None:
        """The first method that yields a dialogue through the gates."""
        failure = ""
        for number, method in enumerate(self._tries(job)):
            try:
                dialogue, repairs = await self._attempt(job, method, store, gates, language)
            except _Failed as failed:
                failure = str(failed.args[0])
                self._faults[failure] += 1
                if failure == "minors_and_sex":
                    break
                continue
            except CallError as error:
                failure = f"call_failed_{error.failure.cause}"
                self._faults[failure] += 1
                break
            how = "as planned" if number == 0 else "with the next method"
            self._outcomes[f"written {how}, {'after repair' if repairs else 'at once'}"] += 1
            return Written(dialogue, method)
        self._outcomes[f"left to the templates: {failure}"] += 1
        return None

    def _tries(self, job: Job) -> Iterator[Method]:
        yield job.method
        others = [m for m in self._methods if m is not job.method and job.turns >= METHODS[m].fewest_turns]
        start = int(hashlib.sha256(job.question.encode()).hexdigest()[:8], 16)
        for number in range(min(FALLBACKS, len(others))):
            yield others[(start + number) % len(others)]

    async def _attempt(
        self, job: Job, method: Method, store: Store, gates: Gates, language: str
    ) -> tuple[tuple[Message, ...], int]:
        """A dialogue by one method, and how often it had to be mended."""
        messages = prompt_messages(job, method, language)
        fault = ""
        for repairs in range(1 + REPAIRS):
            reply = await self._ask(messages, store)
            found = read_dialogue(reply, job.turns)
            if isinstance(found, str):
                if found == "refused":
                    raise _Failed(found)
                fault = "invalid"
                mend = found
            else:
                draft = Draft(job.question, found, job.turns, method, language)
                measured = gates.measure(draft)
                fault = measured.fault
                if fault == "intent_retained" and _DOUBTFUL <= measured.intent < INTENT:
                    fault = "" if await self._same_intent(job, found, store) else fault
                    fault = fault or gates.fault_besides(draft, "intent_retained")
                if not fault and repeats_question(job.question, found):
                    fault = "diversity"
                if not fault:
                    return found, repairs
                if fault == "minors_and_sex":
                    raise _Failed(fault)
                mend = f"it fails the check '{fault}' ({GATES[fault]})"
            messages = [
                *messages[:2],
                Message(role="assistant", content=reply.text or "{}"),
                Message(role="user", content=_filled("repair.txt", job, fault=mend)),
            ]
        raise _Failed(fault)

    async def _same_intent(self, job: Job, dialogue: Sequence[Message], store: Store) -> bool:
        """The model's word on whether a paraphrase still asks for the query."""
        boundary = _boundary(job.question)
        shown = "\n".join(f"{message.role}: {message.content}" for message in dialogue)
        text = (
            f"{_prompt('check.txt')}\n\nRequest:\n<<<{boundary}\n{job.question}\n{boundary}>>>\n\n"
            f"Conversation:\n<<<{boundary}\n{shown}\n{boundary}>>>"
        )
        reply = await self._ask([Message(role="user", content=text)], store)
        try:
            verdict = orjson.loads(_unfenced(reply.text))
        except orjson.JSONDecodeError:
            return False
        return isinstance(verdict, dict) and verdict.get("same") is True

    async def _ask(self, messages: Sequence[Message], store: Store) -> Reply:
        key = content_key(
            {
                "generator": self.identity,
                "messages": [[message.role, message.content] for message in messages],
            }
        )
        stored = store.response(key)
        if stored is not None:
            self._stored += 1
            reply = stored
        else:
            started = time.monotonic()
            reply, attempts = await self._limits.call(
                lambda: self._endpoint.complete(messages), asked="generator"
            )
            self._asked += 1
            store.add_response(
                key,
                reply,
                refused=detect_refusal(reply.text) is Refusal.FULL,
                judged=False,
                attempts=attempts,
                seconds=time.monotonic() - started,
            )
        self._tokens[0] += reply.prompt_tokens or 0
        self._tokens[1] += reply.completion_tokens or 0
        return reply


def has_store(folder: Path) -> bool:
    """Whether an unfinished build lies in a work folder."""
    return is_run(folder)


def prompt_messages(job: Job, method: Method, language: str) -> list[Message]:
    """The request for one dialogue."""
    task = _filled("task.txt", job, language=language)
    return [
        Message(role="system", content=_prompt("system.txt")),
        Message(role="user", content=f"{_prompt(f'{method.value}.txt')}\n\n{task}"),
    ]


def read_dialogue(reply: Reply, turns: int) -> tuple[Message, ...] | str:  # noqa: PLR0911
    """The dialogue in a reply, or what is wrong: `refused`, or a sentence for the model to mend it by."""
    if reply.blocked:
        return "refused"
    try:
        document = orjson.loads(_unfenced(reply.text))
    except orjson.JSONDecodeError:
        if detect_refusal(reply.text) is not Refusal.NONE:
            return "refused"
        return "it was cut off" if reply.finish_reason == "length" else "it is not one valid JSON object"
    entries = document.get("turns") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return "it has no list `turns`"
    messages = []
    for place, entry in enumerate(entries):
        role: Role = "assistant" if place % 2 else "user"
        if (
            not isinstance(entry, dict)
            or entry.get("role") != role
            or not isinstance(entry.get("content"), str)
        ):
            return f"entry {place + 1} of `turns` must be an object with role {role} and a text content"
        messages.append(Message(role=role, content=entry["content"].strip()))
    if len(messages) != 2 * turns - 1:
        return f"it has {len(messages)} turns in all instead of {2 * turns - 1}"
    return tuple(messages)


def repeats_question(question: str, dialogue: Sequence[Message]) -> bool:
    """Whether a dialogue holds more than the allowed share of its question's own 5-grams."""
    return overlap(dialogue_grams([Message(role="user", content=question)]), dialogue_grams(dialogue)) > MOST


def _unfenced(text: str) -> str:
    """A reply without the code fence that some models put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text.removeprefix("```json").removeprefix("```").removesuffix("```")
    return text


@cache
def _prompt(name: str) -> str:
    return files("safemt.build").joinpath("data", "prompts", name).read_text(encoding="utf-8").strip()


def _filled(name: str, job: Job, **more: str) -> str:
    values = {
        "k": str(job.turns),
        "k_minus_1": str(job.turns - 1),
        "scenario": job.query.scenario.value,
        "boundary": _boundary(job.question),
        **more,
    }
    text = _prompt(name)
    for key, value in values.items():
        text = text.replace("{" + key + "}", value)
    return text.replace("{question}", job.question)


def _boundary(question: str) -> str:
    """A mark that the question does not hold; the same for the same question, so that its calls are too."""
    return f"REQUEST-{hashlib.sha256(question.encode('utf-8', 'surrogatepass')).hexdigest()[:12].upper()}"
