"""What a gateway is: one configuration, read whole and checked before anything listens."""

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from safemt.core.errors import UsageError
from safemt.io.yaml import read_yaml, typed
from safemt.moderation.open import DEFAULT, ModeratorConfig
from safemt.moderation.policies.inject import Position

DEFAULT_TENANT: Final = "default"
REFUSAL_TEXT: Final = "I cannot help with that. I am glad to help with something else."

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_Seconds = Annotated[float, msgspec.Meta(ge=0.01, le=86_400)]
PositionChoice = Literal["auto", "late_system", "system", "user_suffix"]
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the configuration."""


class UpstreamConfig(_Part, frozen=True, kw_only=True):
    """The server that has the model."""

    base_url: str
    """With its version, such as `http://localhost:8000/v1`."""
    api_key_env: str | None = None
    """Environment variable with the key for the upstream. None passes the client's own key on, unless the
    gateway has keys."""
    connect_timeout: _Seconds = 10.0
    idle_timeout: _Seconds = 600.0
    """Seconds without a byte from the upstream. There is no limit on the whole response."""
    pass_paths: tuple[str, ...] = ()
    """Further paths to pass on without moderation, such as `/v1/audio/speech`."""


class ListenConfig(_Part, frozen=True, kw_only=True):
    """Where the gateway listens."""

    host: str = "127.0.0.1"
    port: _Port = 8080
    admin_host: str = "127.0.0.1"
    admin_port: _Port | None = None
    """Own port of metrics, configuration and reload. None: the same port on loopback, none elsewhere."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    open: bool = False
    """Whether it may listen beyond loopback without keys."""


class BlockConfig(_Part, frozen=True, kw_only=True):
    """How a blocked conversation is answered."""

    block_as: Literal["refusal", "error"] = msgspec.field(default="refusal", name="as")
    """A refusal in the model's place, or HTTP 400 with the code `content_filter`."""
    text: str = REFUSAL_TEXT


class CapsConfig(_Part, frozen=True, kw_only=True):
    """What a tenant may ask for; None is no limit."""

    n: _Positive | None = None
    max_tokens: _Positive | None = None
    logprobs: bool = True
    requests_per_minute: _Positive | None = None


class LimitsConfig(_Part, frozen=True, kw_only=True):
    """Limits of requests and of the moderator's work."""

    body_bytes: _Positive = 20 * 2**20
    body_seconds: _Seconds = 30.0
    header_bytes: _Positive = 16 * 2**10
    idle_seconds: _Seconds = 75.0
    """A connection without a whole request header for so long is closed."""
    write_seconds: _Seconds = 60.0
    """A client that takes no byte for so long is cut off."""
    messages: _Positive = 2000
    parts: _Positive = 4000
    """Parts of all messages together."""
    images: _Positive = 64
    moderation_seconds: _Seconds = 2.0
    """Time for one verdict. Beyond it `moderator.on_error` decides."""
    threads: Annotated[int, msgspec.Meta(ge=2, le=64)] | None = None
    """Threads of the moderator; None is the number of cores, at least two."""
    max_waiting: _Positive = 256
    """New conversations that wait for the moderator."""
    on_overload: Literal["on_error", "refuse"] = "on_error"
    """Beyond `max_waiting`: do as `moderator.on_error` says, or answer 429."""
    state_mb: _Positive = 64
    state_hours: Annotated[float, msgspec.Meta(gt=0, le=8760)] = 24.0
    grace_seconds: _Seconds = 30.0
    """Time for open responses after a signal to end."""


class AuditConfig(_Part, frozen=True, kw_only=True):
    """The audit log: one JSON line for each request."""

    path: Path
    required: bool = False
    """Whether requests are refused (503) while lines cannot be written."""
    text: Literal["none", "hash", "flagged", "all"] = "none"
    """Texts of users in the log: none, a keyed hash, those of flagged conversations, all."""
    queue: _Positive = 10_000
    """Lines that may wait for the disk."""


class ImagesConfig(_Part, frozen=True, kw_only=True):
    """Pictures that a request names by their address."""

    urls: Literal["unscanned", "refuse", "fetch"] = "unscanned"
    """Pass them on unseen (the verdict is degraded), refuse the request, or fetch them here."""
    hosts: tuple[str, ...] = ()
    """Hosts that pictures may be fetched from."""
    bytes: _Positive = 10 * 2**20
    seconds: _Seconds = 5.0


class TenantConfig(_Part, frozen=True, kw_only=True):
    """How the requests of one tenant differ from the others."""

    moderator: dict[str, Any] = {}
    """Settings that override those in `moderator`."""
    policy_position: PositionChoice | None = None
    block: BlockConfig | None = None
    caps: CapsConfig = CapsConfig()
    reveal: Literal["none", "action", "verdict"] = "none"
    """What response headers say about the moderator."""
    upstream_key_env: str | None = None


class ServeConfig(_Part, frozen=True, kw_only=True):
    """A gateway. It holds names of environment variables and hashes of keys, never keys."""

    upstream: UpstreamConfig
    moderator: ModeratorConfig = ModeratorConfig(name=DEFAULT)
    policy_position: PositionChoice = "auto"
    """Where policies go; `auto` is late, or in the last user message where the template refuses that."""
    block: BlockConfig = BlockConfig()
    listen: ListenConfig = ListenConfig()
    limits: LimitsConfig = LimitsConfig()
    audit: AuditConfig | None = None
    images: ImagesConfig = ImagesConfig()
    tenants: dict[str, TenantConfig] = {}
    keys: dict[str, str] = {}
    """SHA-256 of a key in hex → name of its tenant. Empty: no key is asked for."""


def read_serve_config(path: Path | None, settings: Mapping[str, Any] | None = None) -> ServeConfig:
    """The configuration in a YAML file, if there is one, with `settings` over it.

    Args:
        path: The file, or None.
        settings: Values by their places, such as `listen.port`.

    Raises:
        DataError: the file cannot be read, or a value does not fit; the message has the path inside.
        UsageError: values contradict each other.
    """
    data = {} if path is None else read_yaml(path)
    if isinstance(data, dict):
        for place, value in (settings or {}).items():
            _put(data, place.split("."), value)
    return config_from({} if data is None else data, where="the configuration" if path is None else str(path))


def config_from(data: Any, *, where: str) -> ServeConfig:
    """A configuration from plain data. `upstream` and `moderator` may be given by address and name alone.

    Raises:
        DataError: a value does not fit.
        UsageError: values contradict each other.
    """
    if isinstance(data, dict):
        data = {
            name: _section(value, name) if name in _SHORT and isinstance(value, str) else value
            for name, value in data.items()
        }
        moderator = data.get("moderator", {})
        data["moderator"] = {"name": DEFAULT, **moderator} if isinstance(moderator, dict) else moderator
    config = typed(data, ServeConfig, where=where)
    _require_consistent(config)
    return config


def config_data(config: ServeConfig) -> dict[str, Any]:
    """The configuration as plain data. Hashes of keys are cut: they only say which entry is meant."""
    data: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    data["keys"] = {f"{key[:8]}…": tenant for key, tenant in config.keys.items()}
    return data


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def key_from(variable: str) -> str:
    """The key in an environment variable.

    Raises:
        UsageError: the variable is not set.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(
            "key_not_set",
            f"The environment variable {variable} is not set. Put the key there.",
            name=variable,
        )
    return key


_SHORT: Final[Mapping[str, str]] = {"upstream": "base_url", "moderator": "name", "audit": "path"}
"""Sections that may be given as one text, and which field it is."""


def _put(data: dict[str, Any], place: Sequence[str], value: Any) -> None:
    *sections, last = place
    for name in sections:
        # A copy: two names of a YAML file may be aliases of one section.
        data[name] = data = _section(data.get(name), name)
    data[last] = value


def _section(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, str) and name in _SHORT:
        return {_SHORT[name]: value}
    return dict(value) if isinstance(value, dict) else {}


def _require_consistent(config: ServeConfig) -> None:
    listen = config.listen
    if not config.upstream.base_url.startswith(("http://", "https://")):
        raise UsageError(
            "bad_address",
            "`upstream.base_url` must begin with http:// or https://.",
            value="upstream.base_url",
        )
    if not (config.keys or listen.open or is_loopback(listen.host)):
        raise UsageError(
            "open_gateway",
            f"`listen.host` {listen.host} lets other machines in, and `keys` is empty. Add keys, or set "
            "`listen.open` if everybody may use the gateway.",
            host=listen.host,
        )
    if (listen.tls_cert is None) != (listen.tls_key is None):
        raise UsageError("half_tls", "TLS needs both `listen.tls_cert` and `listen.tls_key`.")
    if config.moderator.policy_position is not Position.LATE_SYSTEM:
        raise UsageError(
            "setting_does_not_apply",
            "A gateway takes `policy_position` at the top of its configuration, not "
            "`moderator.policy_position`.",
            setting="moderator.policy_position",
        )
    for key, tenant in config.keys.items():
        if not _SHA256.fullmatch(key):
            raise UsageError(
                "not_a_key_hash",
                "`keys` must hold the SHA-256 of each key in lower-case hex, never a key itself. "
                "`printf %s KEY | sha256sum` prints it.",
            )
        if tenant not in config.tenants and tenant != DEFAULT_TENANT:
            raise UsageError("unknown_tenant", f"`keys` names the tenant {tenant!r}, which `tenants` lacks.")
    if config.images.urls == "fetch" and not config.images.hosts:
        raise UsageError(
            "no_image_hosts", "`images.urls` fetch needs the hosts to fetch from: `images.hosts`."
        )
