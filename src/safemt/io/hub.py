"""Benchmarks on the Hugging Face hub, fetched into the hub's own cache (extra `hub`)."""

from pathlib import Path
from typing import Final

from safemt.core.errors import BenchmarkError, UsageError
from safemt.io.files import reason_of

PREFIX: Final = "hub:"


def fetch_from_hub(name: str) -> tuple[Path, Path]:
    """Fetch `OWNER/NAME` or `OWNER/NAME@REVISION`: its folder, and the folder that its links lead into.

    Raises:
        UsageError: `bad_hub_name`, or `needs_extra` if the extra is not installed.
        BenchmarkError: `hub_failed`: the hub has no such data set, or cannot be reached.
    """
    repository, _, revision = name.partition("@")
    if repository.count("/") != 1:
        raise UsageError(
            "bad_hub_name",
            f"{PREFIX}{name}: write {PREFIX}OWNER/NAME or {PREFIX}OWNER/NAME@REVISION.",
            name=name,
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise UsageError(
            "needs_extra", f"{PREFIX}{name} needs an extra: pip install 'safemt[hub]'.", extra="hub"
        ) from error
    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", revision=revision or None))
    except HFValidationError as error:
        raise UsageError(
            "bad_hub_name", f"{PREFIX}{name} cannot be the name of a data set: {error}", name=name
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BenchmarkError(
            "hub_failed",
            f"{PREFIX}{name} could not be fetched from the hub: {reason_of(error)}. Check the name, the "
            "revision, the network and HF_TOKEN, or download it by hand and give the folder.",
            name=name,
        ) from error
    return folder, folder.parent.parent
