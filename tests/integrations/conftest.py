"""The gateway and the server in the model's place, as the gateway's own tests have them."""

from serve.conftest import start, upstream

__all__ = ["start", "upstream"]
