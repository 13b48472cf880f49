"""What goes over the wire, byte for byte."""

import asyncio
import base64
import hashlib
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from endpoints.wire import HELLO, ask, open_endpoint
from safemt.core.errors import BenchmarkError
from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Scenario
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.io.images import ImageFolder, inspect_image, received_image
from safemt.targets.openai import OpenAITarget
from servers.client import ChatServer

DIALOGUE = (
    Message(role="user", content="\n  What is in the picture? "),
    Message(role="assistant", content="A red square."),
    Message(role="user", content=""),
    Message(role="assistant", content='He said: "no\\yes"\t\x00\x7f <image>'),
    Message(role="user", content="Grüße, 你好, 🙂 and \u2028 too?\r\n"),
)


def red_square(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(content, kind)
    return content.getvalue()


def put_image(folder: Path, name: str, content: bytes) -> ImageRef:
    (folder / name).write_bytes(content)
    return inspect_image(folder / name, name)


def sent(server: ChatServer, index: int = -1) -> str:
    body = server.log()[index]["body"]
    assert isinstance(body, str)
    return body


async def test_a_text_dialogue_is_sent_byte_for_byte_as_it_stands(server: ChatServer) -> None:
    await ask(server.base_url, DIALOGUE)
    expected = {
        "model": "sim-model",
        "messages": [{"role": each.role, "content": each.content} for each in DIALOGUE],
        "temperature": 0.0,
        "max_tokens": 1024,
    }
    assert sent(server) == json.dumps(expected, ensure_ascii=False, separators=(",", ":"))


async def test_an_image_comes_first_and_only_where_it_belongs(server: ChatServer, tmp_path: Path) -> None:
    content = red_square("PNG")
    image = put_image(tmp_path, "square.png", content)
    first, *rest = DIALOGUE
    messages = [Message(role=first.role, content=first.content, image=image), *rest]
    await ask(server.base_url, messages, images=ImageFolder(tmp_path))
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    expected = {
        "model": "sim-model",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": uri}},
                    {"type": "text", "text": first.content},
                ],
            },
            *({"role": each.role, "content": each.content} for each in rest),
        ],
        "temperature": 0.0,
        "max_tokens": 1024,
    }
    assert sent(server) == json.dumps(expected, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif")],
)
async def test_the_type_of_an_image_is_that_of_its_bytes_not_of_its_name(
    server: ChatServer, tmp_path: Path, kind: str, media_type: str
) -> None:
    image = put_image(tmp_path, "picture.bmp", red_square(kind))
    message = Message(role="user", content="?", image=image)
    await ask(server.base_url, [message], images=ImageFolder(tmp_path))
    url = json.loads(sent(server))["messages"][0]["content"][0]["image_url"]["url"]
    assert url == f"data:{media_type};base64,{base64.b64encode(red_square(kind)).decode()}"


async def test_parts_are_sent_in_their_order_and_pictures_from_their_own_source(server: ChatServer) -> None:
    pictures = [received_image(red_square(kind)) for kind in ("PNG", "GIF")]
    await ask(server.base_url, [Message("user", [pictures[0], "a", pictures[1], "b"])])
    first, text, second, last = json.loads(sent(server))["messages"][0]["content"]
    assert first["image_url"]["url"].startswith("data:image/png;base64,")
    assert second["image_url"]["url"].startswith("data:image/gif;base64,")
    assert (text, last) == ({"type": "text", "text": "a"}, {"type": "text", "text": "b"})


async def test_an_image_that_changed_is_not_sent(server: ChatServer, tmp_path: Path) -> None:
    image = put_image(tmp_path, "square.png", red_square("PNG"))
    (tmp_path / "square.png").write_bytes(red_square("GIF"))
    with pytest.raises(BenchmarkError, match="has changed"):
        await ask(
            server.base_url,
            [Message(role="user", content="?", image=image)],
            images=ImageFolder(tmp_path),
        )
    assert server.log() == []


async def test_a_picture_of_several_megabytes_is_sent_whole(server: ChatServer, tmp_path: Path) -> None:
    # A PNG's reader stops at its end; what is appended makes the file large without drawing a large picture.
    padding = b"junk" + bytes(3_000_000)
    chunk = struct.pack(">I", len(padding) - 4) + padding + struct.pack(">I", zlib.crc32(padding))
    content = red_square("PNG") + chunk
    image = put_image(tmp_path, "large.png", content)
    message = Message(role="user", content="?", image=image)
    await ask(server.base_url, [message], images=ImageFolder(tmp_path))
    url = json.loads(sent(server))["messages"][0]["content"][0]["image_url"]["url"]
    assert hashlib.sha256(base64.b64decode(url.partition(",")[2])).hexdigest() == image.sha256


def body_of(content: str, image: ImageRef | None = None, folder: Path | None = None) -> Any:
    """The body that would be sent, parsed."""
    images = ImageFolder(folder) if folder else None
    endpoint = open_endpoint("http://127.0.0.1:1/v1", images=images)
    return json.loads(endpoint._body([Message(role="user", content=content, image=image)], "max_tokens"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    content=st.text(
        st.characters(codec=None, exclude_categories=()) | st.sampled_from('"\\\x00\ud83d\udc80🙂'),
        max_size=40,
    )
)
def test_any_text_arrives_as_it_was_given(tmp_path: Path, content: str) -> None:
    assert body_of(content)["messages"] == [{"role": "user", "content": content}]
    image = put_image(tmp_path, "square.png", red_square("PNG"))
    picture, text = body_of(content, image, tmp_path)["messages"][0]["content"]
    assert text == {"type": "text", "text": content}
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")


async def test_no_text_passes_for_an_image(server: ChatServer, tmp_path: Path) -> None:
    image = put_image(tmp_path, "square.png", red_square("PNG"))
    part = '{"type":"image_url","image_url":{"url":"x"}}'
    texts = [f"safemt-image:{image.sha256}", image.sha256, part, f'","url":"{image.sha256}"', "<image>"]
    for text in texts:
        messages = [Message(role="user", content=text, image=image), Message(role="assistant", content=text)]
        await ask(server.base_url, messages, images=ImageFolder(tmp_path))
        first, second = json.loads(sent(server))["messages"]
        assert first["content"][1] == {"type": "text", "text": text}
        assert second == {"role": "assistant", "content": text}


async def test_half_a_surrogate_pair_goes_out_as_the_escape_that_it_is(server: ChatServer) -> None:
    await ask(server.base_url, [Message(role="user", content='"\ud800"')])
    assert r'"content":"\"\ud800\""' in sent(server)


async def test_the_default_temperature_is_not_sent(server: ChatServer) -> None:
    await ask(server.base_url, sampling=Sampling(temperature=None, max_output_tokens=7))
    assert list(json.loads(sent(server))) == ["model", "messages", "max_tokens"]
    assert json.loads(sent(server))["max_tokens"] == 7


async def test_a_temperature_is_sent_as_given(server: ChatServer) -> None:
    await ask(server.base_url, sampling=Sampling(temperature=0.6))
    assert '"temperature":0.6,"max_tokens":1024}' in sent(server)


async def test_the_model_is_sent_with_its_slashes(server: ChatServer) -> None:
    await ask(server.base_url, model="org/model-v1")
    assert sent(server).startswith('{"model":"org/model-v1",')


async def test_the_key_is_sent_only_where_there_is_one(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "  a-key-of-mine\n")
    await ask(server.base_url)
    monkeypatch.setenv("OTHER_KEY", "another-key-of-mine")
    await ask(server.base_url, api_key_env="OTHER_KEY")
    keys = [entry["headers"].get("authorization") for entry in server.log()]
    assert keys == [None, "Bearer a-key-of-mine", "Bearer another-key-of-mine"]


async def test_a_request_says_what_it_is(server: ChatServer) -> None:
    await ask(server.base_url)
    (entry,) = server.log()
    assert (entry["method"], entry["path"]) == ("POST", "/v1/chat/completions")
    assert entry["headers"]["content-type"] == "application/json"
    assert entry["headers"]["user-agent"].startswith("safemt/")
    assert "cookie" not in entry["headers"]


async def test_cookies_are_not_kept(server: ChatServer) -> None:
    endpoint = open_endpoint(server.mode_url("cookie"))
    for _ in range(2):
        await endpoint.complete(HELLO)
    await endpoint.close()
    assert ["cookie" in entry["headers"] for entry in server.log()] == [False, False]


@pytest.mark.parametrize("tail", ["", "/", "/chat/completions", "/chat/completions/"])
async def test_a_base_url_may_be_the_whole_address(server: ChatServer, tail: str) -> None:
    assert (await ask(f"{server.base_url}{tail}")).text


# max_tokens or max_completion_tokens


async def test_the_output_limit_changes_its_name_once_and_for_good(server: ChatServer) -> None:
    endpoint = open_endpoint(server.mode_url("max_tokens_unsupported"))
    for _ in range(3):
        assert (await endpoint.complete(HELLO)).text
    await endpoint.close()
    bodies = [json.loads(entry["body"]) for entry in server.log()]
    assert [list(body)[-1] for body in bodies] == ["max_tokens", *["max_completion_tokens"] * 3]
    assert bodies[0].pop("max_tokens") == bodies[1].pop("max_completion_tokens") == 1024
    assert bodies[0] == bodies[1]


async def test_concurrent_calls_all_find_the_other_name(server: ChatServer) -> None:
    endpoint = open_endpoint(server.mode_url("max_tokens_unsupported"))
    replies = await asyncio.gather(*(endpoint.complete(HELLO) for _ in range(8)))
    await endpoint.close()
    assert len({reply.text for reply in replies}) == 1
    assert server.stats()["by_status"]["200"] == 8
    assert server.stats()["total"] <= 16


async def test_the_target_sends_the_messages_and_looks_at_no_sample(server: ChatServer) -> None:
    target = OpenAITarget(open_endpoint(server.mode_url("echo")))
    sample = Sample(
        query_id="q", turns=1, scenario=Scenario.FRAUD, question="another text", dialogue=HELLO, image=None
    )
    assert (await target.respond(HELLO, sample)).text == "hello"
    await target.close()
    assert "another text" not in sent(server)


def test_the_identity_of_a_target_is_model_and_sampling_not_the_address() -> None:
    def identity(**options: Any) -> Any:
        return OpenAITarget(open_endpoint(**{"base_url": "http://a.example/v1", **options})).identity

    base = identity()
    assert base == identity(base_url="http://b.example/v1", timeout=1.0)
    others = [
        identity(model="other"),
        identity(sampling=Sampling(temperature=None)),
        identity(sampling=Sampling(temperature=0.5)),
        identity(sampling=Sampling(max_output_tokens=512)),
    ]
    assert base not in others


async def test_an_image_without_a_folder_is_our_own_mistake(tmp_path: Path) -> None:
    image = put_image(tmp_path, "square.png", red_square("PNG"))
    endpoint = ChatEndpoint(model="m", base_url="http://127.0.0.1:1", sampling=Sampling(), timeout=1.0)
    with pytest.raises(RuntimeError, match="needs a folder"):
        await endpoint.complete([Message(role="user", content="?", image=image)])
