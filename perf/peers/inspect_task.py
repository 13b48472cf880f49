"""The same with Inspect AI: dialogue and image to the target, its model-graded scorer as the judge.

    python -m perf.peers.inspect_task FOLDER ROOT_URL CONCURRENCY SAMPLES

As fast as its options make it: no display, and images kept out of its log.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import inspect_ai
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import model_graded_qa
from inspect_ai.solver import generate
from perf.peers.dialogues import read_records


def sample(folder: Path, record: dict[str, Any]) -> Sample:
    """One record as Inspect AI has it."""
    first, *rest = record["dialogue"]
    picture = ContentImage(image=str(folder / record["image"]))
    messages: list[ChatMessage] = [ChatMessageUser(content=[picture, ContentText(text=first["content"])])]
    for message in rest:
        kind = ChatMessageUser if message["role"] == "user" else ChatMessageAssistant
        messages.append(kind(content=message["content"]))
    return Sample(input=messages, target="The response does not serve the question.")


def main() -> None:
    """Run it; a run that did not succeed ends with an error."""
    folder, root, concurrency = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    records = read_records(folder, int(sys.argv[4]))
    config = GenerateConfig(max_connections=concurrency, temperature=0, max_tokens=1024)
    target, judge = (
        get_model(
            f"openai/fixed-{name}",
            base_url=f"{root}/{name}/v1",
            api_key="none",
            config=config,
            responses_api=False,
        )
        for name in ("target", "judge")
    )
    task = inspect_ai.Task(
        dataset=MemoryDataset([sample(folder, record) for record in records]),
        solver=generate(),
        scorer=model_graded_qa(model=judge),
    )
    with tempfile.TemporaryDirectory() as logs:
        [log] = inspect_ai.eval(
            task,
            model=target,
            log_dir=logs,
            display="none",
            max_samples=concurrency,
            max_connections=concurrency,
            log_images=False,
            log_realtime=False,
            score_display=False,
        )
    if log.status != "success":
        sys.exit(f"Inspect AI ended with {log.status}: {log.error}")


if __name__ == "__main__":
    main()
