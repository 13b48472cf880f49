"""A server on 127.0.0.1 that stands in for models: a function of the request says what each answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
Answer = Callable[[Body], "str | tuple[int, object] | None"]
"""A text (a completion that says it), a status and a JSON body, or None: no answer until the server ends."""


@dataclass
class ModelServer:
    base_url: str
    requests: list[tuple[str, Body]] = field(default_factory=list)
    """Path and parsed body of each, in order of arrival."""

    @property
    def bodies(self) -> list[Body]:
        return [body for _, body in self.requests]


@contextmanager
def serve(answer: Answer) -> Iterator[ModelServer]:
    ending = threading.Event()
    seen = ModelServer("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.requests.append((self.path, body))
            said = answer(body)
            if said is None:
                ending.wait(20)
                return
            status, content = said if isinstance(said, tuple) else (200, completion(said))
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    seen.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield seen
    finally:
        ending.set()
        server.shutdown()
        thread.join()
        server.server_close()


def completion(text: str, *, first_token: dict[str, float] | None = None) -> Body:
    """A chat completion; `first_token` are the log-probabilities of what its first token could be."""
    choice: Body = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    if first_token is not None:
        listed = [{"token": token, "logprob": logprob} for token, logprob in first_token.items()]
        choice["logprobs"] = {"content": [{"token": next(iter(first_token)), "top_logprobs": listed}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return {"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def shown(body: Body) -> str:
    """All texts of a chat request."""
    texts = []
    for message in body["messages"]:
        content = message["content"]
        if isinstance(content, list):
            content = " ".join(part.get("text", "") for part in content)
        texts.append(content)
    return "\n".join(texts)
