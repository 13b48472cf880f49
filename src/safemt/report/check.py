"""What `safemt check --json` says of a benchmark."""

from collections import Counter
from typing import Any

from safemt.benchmark.findings import errors_of
from safemt.benchmark.read import Benchmark


def check_json(benchmark: Benchmark) -> dict[str, Any]:
    """The check as one document; its keys are described in docs/file-formats.md."""
    harmful = [sample for sample in benchmark.samples if sample.twin_of is None]
    missing = {sample_id.rpartition("@")[0] for sample_id in benchmark.imageless}
    return {
        "name": benchmark.name,
        "layout": benchmark.layout,
        "sha256": benchmark.sha256,
        "samples": len(benchmark.samples),
        "queries": benchmark.query_count,
        "rounds": list(benchmark.rounds),
        "turns": {str(k): n for k, n in sorted(Counter(sample.turns for sample in harmful).items())},
        "scenarios": dict(sorted(Counter(sample.scenario.value for sample in harmful).items())),
        "methods": dict(sorted(Counter(sample.method.value for sample in harmful if sample.method).items())),
        "benign_twins": len(benchmark.samples) - len(harmful),
        "images": len({sample.image.sha256 for sample in benchmark.samples if sample.image}),
        "missing_images": sorted(missing),
        "ok": not errors_of(benchmark.findings),
        "counts": dict(benchmark.counts),
        "findings": [
            {
                "level": finding.level,
                "code": finding.code,
                "file": finding.file,
                "index": finding.index,
                "id": finding.id,
                "message": finding.message,
            }
            for finding in benchmark.findings
        ],
    }
