"""The benchmark that a name means: a folder, a file, the demo, or a data set on the Hugging Face hub."""

from pathlib import Path
from typing import Final

from safemt.benchmark.read import Benchmark, read_benchmark
from safemt.io.hub import PREFIX, fetch_from_hub

DEMO: Final = "demo"
"""The name of the shipped benchmark. A folder of that name is `./demo`."""


def read_named(name: str, *, text_only: bool = False) -> Benchmark:
    """The benchmark called `name`: a path, `demo`, or `hub:OWNER/NAME[@REVISION]`.

    Raises:
        BenchmarkError: it cannot be read.
    """
    if name.startswith(PREFIX):
        folder, boundary = fetch_from_hub(name.removeprefix(PREFIX))
        return read_benchmark(folder, text_only=text_only, boundary=boundary, name=name.removeprefix(PREFIX))
    path = Path(__file__).parent / DEMO if name == DEMO else Path(name)
    return read_benchmark(path, text_only=text_only)
