"""`safemt serve`: the gateway."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from safemt.cli.command import command
from safemt.cli.moderators import DECISION, DETECTOR
from safemt.cli.options import Setting, option
from safemt.cli.values import field_at
from safemt.serve.config import ServeConfig, read_serve_config

if TYPE_CHECKING:
    from safemt.serve.server import RunningGateway

_OWN: Final = {
    "upstream.base_url": "The server that has the model, such as http://localhost:8000/v1.",
    "upstream.api_key_env": "Environment variable that holds the server's key. Default: the client's key.",
    "listen.host": "Address to listen on.",
    "listen.port": "Port to listen on.",
    "listen.admin_port": "Own port for metrics, configuration and reload.",
    "listen.tls_cert": "Certificate, for TLS.",
    "listen.tls_key": "Key of the certificate.",
    "listen.open": "Listen beyond this machine although no keys are configured.",
    "audit.path": "Append one JSON line for each request to this file.",
}


def _typed(path: str, text: str = "") -> Setting:
    """An option with the type that the gateway's configuration gives it."""
    found = field_at(ServeConfig, path) if not path.startswith("audit.") else (Path, None)
    kind, default = found or (None, None)
    setting = Setting(path, text) if text else option(path)
    shown = default if path in ("listen.host", "listen.port") else None
    return replace(setting, kind=kind, help=f"{setting.help} [default: {shown}]" if shown else setting.help)


@command(
    "config",
    *(_typed(path, text) for path, text in _OWN.items()),
    *(_typed(path) for path in ("moderator.name", *DECISION, *DETECTOR)),
    examples=(
        "safemt serve --upstream http://localhost:8000/v1",
        "safemt serve --config serve.yaml --port 8080",
    ),
)
def serve(*, config: Path | None, **given: Any) -> None:
    """Clients talk to the gateway as they would to the model's server.

    Conversations are moderated before they are passed on; answers go through unchanged. SIGHUP reads the
    configuration again, SIGTERM lets open answers finish.
    """
    from safemt.serve.server import run

    settings = _settings(given)

    def read() -> ServeConfig:
        return read_serve_config(config, settings)

    run(read(), read, _say)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, by their places in the configuration."""
    places = (*_OWN, "moderator.name", *DECISION, *DETECTOR)
    found: dict[str, Any] = {}
    for place in places:
        value = given[place.replace(".", "_")]
        if value is not None and value is not False:
            plain = None if value is msgspec.UNSET else msgspec.to_builtins(value, enc_hook=str)
            found[place] = plain
    return found


def _say(running: "RunningGateway") -> None:
    import logging

    from safemt.cli.printing import say, stderr

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    config = running.gateway.generation.config
    say(
        stderr(), f"Listening on {config.listen.host}:{running.port}, in front of {config.upstream.base_url}."
    )
