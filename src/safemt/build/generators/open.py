"""From what stands on the command line to a generator."""

from collections.abc import Sequence
from pathlib import Path

from safemt.build.generators.llm import SAMPLING, LLMGenerator, has_store
from safemt.build.generators.template import NAME
from safemt.build.output import work_folder
from safemt.core.errors import UsageError
from safemt.core.taxonomy import Method
from safemt.endpoints.chat import ChatEndpoint


def open_generator(
    name: str,
    *,
    out: Path,
    base_url: str | None,
    api_key_env: str | None,
    methods: Sequence[Method],
    concurrency: int,
    timeout: float,
    resume: bool,
) -> LLMGenerator | None:
    """The generator called `name`: `openai/MODEL`, or None for `template`.

    Raises:
        UsageError: there is no such generator, its options do not fit, or an unfinished build is in the way.
    """
    kind, _, model = name.partition("/")
    unfinished = has_store(work_folder(out))
    if name == NAME:
        if base_url or api_key_env or resume:
            raise UsageError(
                "--generator template makes no calls: leave out --generator-base-url, "
                "--generator-api-key-env "
                "and --resume."
            )
        if unfinished:
            raise UsageError(
                f"{work_folder(out)} holds an unfinished build by a chat model. Continue that with --resume "
                "and "
                "its --generator, remove the folder, or give another --out."
            )
        return None
    if kind != "openai" or not model:
        raise UsageError(f"--generator {name!r} is not known. Write template or openai/MODEL.")
    if unfinished and not resume:
        raise UsageError(
            f"An earlier build for {out} was interrupted; its paid answers are in {work_folder(out)}. Add "
            "--resume to continue with them, or remove that folder to begin anew."
        )
    endpoint = ChatEndpoint(
        model=model,
        base_url=base_url,
        api_key_env=api_key_env,
        sampling=SAMPLING,
        timeout=timeout,
        role="generator",
    )
    return LLMGenerator(endpoint, methods=methods, concurrency=concurrency)
