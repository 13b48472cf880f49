"""Pictures that a request names by address: found in the body, and fetched in a safe way.

A client must not make the gateway call addresses inside its network, and the model must get what the
moderator saw. So only listed hosts are asked, over https, at an address that was checked and is then used; no
redirect is followed; and the picture goes to the model as a data URI.
"""

import asyncio
import base64
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from safemt.io.images import ImageProblem, inspect_bytes
from safemt.serve.config import ImagesConfig
from safemt.serve.problems import Problem, invalid

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_CONTAINERS: Final = ("messages", "input", "system")


class RemotePicture:
    """A place in a request's body that names a picture by its address."""

    def __init__(self, holder: dict[str, Any], key: str, url: str) -> None:
        self._holder, self._key = holder, key
        self.url = url

    def replace(self, media_type: str, data: bytes) -> None:
        """Put the picture itself in the address's place."""
        text = base64.b64encode(data).decode()
        if self._key == "source":
            self._holder["source"] = {"type": "base64", "media_type": media_type, "data": text}
        elif isinstance(self._holder[self._key], dict):
            self._holder[self._key] = {**self._holder[self._key], "url": f"data:{media_type};base64,{text}"}
        else:
            self._holder[self._key] = f"data:{media_type};base64,{text}"


def remote_pictures(body: dict[str, Any]) -> Iterator[RemotePicture]:
    """All pictures in a body of any dialect that are named by an address."""
    waiting: list[Any] = [body[name] for name in _CONTAINERS if name in body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            found = _remote(value)
            if found is not None:
                yield found
            waiting += [each for each in value.values() if isinstance(each, dict | list)]


def _remote(part: dict[str, Any]) -> RemotePicture | None:
    for key in ("image_url", "source"):
        value = part.get(key)
        url = value.get("url") if isinstance(value, dict) else value
        if isinstance(url, str) and url[:5].lower() != "data:":
            return RemotePicture(part, key, url)
    return None


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, whatever form it is written in."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(str(embedded))
    return ip.is_global and not ip.is_multicast


def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class PictureFetcher:
    """Fetches pictures from the hosts that a configuration lists."""

    def __init__(
        self,
        config: ImagesConfig,
        *,
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """`tls` holds the authorities to trust; None is the system's."""
        self._config = config
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=tls or True, resolver=resolver or PublicResolver(), use_dns_cache=False, limit=16
            ),
            timeout=aiohttp.ClientTimeout(total=config.seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def replace_all(self, body: dict[str, Any], most: int) -> int:
        """Put the pictures themselves in the place of their addresses; how many there were.

        Raises:
            Problem: one cannot be fetched.
        """
        found = list(remote_pictures(body))
        if len(found) > most:
            raise invalid("too_many_images", f"There are more than {most} pictures.")
        for picture, (media_type, data) in zip(
            found, await asyncio.gather(*(self.fetch(each.url) for each in found)), strict=True
        ):
            picture.replace(media_type, data)
        return len(found)

    async def fetch(self, address: str) -> tuple[str, bytes]:
        """Media type and bytes of the picture at an address.

        Raises:
            Problem: the address is not allowed, or there is no picture within the limits.
        """
        url = self._allowed(address)
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise invalid("image_not_fetched", "A picture's address does not answer with a picture.")
                data = await answer.content.read(self._config.bytes + 1)
                while len(data) <= self._config.bytes and not answer.content.at_eof():
                    data += await answer.content.read(self._config.bytes + 1 - len(data))
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise invalid("image_not_fetched", "A picture could not be fetched.") from None
        if len(data) > self._config.bytes:
            raise invalid("image_too_large", f"A picture has more than {self._config.bytes:,} bytes.")
        try:
            return (await asyncio.to_thread(inspect_bytes, data, "picture")).media_type, data
        except ImageProblem as problem:
            raise invalid(problem.code, "What a picture's address gives is not a picture.") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def _allowed(self, address: str) -> URL:
        try:
            url = URL(address)
            fits = url.scheme == "https" and url.host in self._config.hosts and not url.user
            fits = fits and (not is_address(str(url.host)) or is_public(str(url.host)))
        except ValueError:
            fits = False
        if not fits:
            raise Problem(400, "image_address_not_allowed", "A picture's address is not on an allowed host.")
        return URL(address)


class PublicResolver(AbstractResolver):
    """Resolves names, and gives public addresses only. The connection goes to an address that it gave."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            OSError: there is none, or one of them is not public.
        """
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        addresses = [(info[0], str(info[4][0])) for info in infos]
        if not addresses or not all(is_public(address) for _, address in addresses):
            raise OSError("the host has an address that is not public")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
            for kind, address in addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""
