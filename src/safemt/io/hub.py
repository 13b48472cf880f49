"""Benchmarks on the Hugging Face hub, fetched into its own cache (extra `hub`)."""

from pathlib import Path
from typing import Final

from safemt.core.errors import BenchmarkError, UsageError

PREFIX: Final = "hub:"


def fetch_from_hub(name: str) -> tuple[Path, Path]:
    """Fetch `OWNER/NAME` or `OWNER/NAME@REVISION`; give the folder, and the folder its links lead into.

    Raises:
        UsageError: the extra is not installed, or the name is not of that form.
        BenchmarkError: the hub has no such data set, or cannot be reached.
    """
    repository, _, revision = name.partition("@")
    if repository.count("/") != 1:
        raise UsageError(
            f"{PREFIX}{name}: a hub benchmark is written {PREFIX}OWNER/NAME or {PREFIX}OWNER/NAME@REVISION."
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise UsageError(f"Reading {PREFIX}{name} needs an extra: pip install 'safemt[hub]'.") from error
    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", revision=revision or None))
    except HFValidationError as error:
        raise UsageError(f"{PREFIX}{name} is not a name the hub can have: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise BenchmarkError(
            f"{PREFIX}{name} could not be fetched from the hub: {reason}. "
            "Check name, revision, network and HF_TOKEN, or download it by hand and give the folder."
        ) from error
    return folder, folder.parent.parent
