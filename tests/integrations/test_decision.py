"""What every integration does with a verdict."""

from safemt.core.schema import Message
from safemt.integrations.decision import decide, decide_now
from safemt.moderation.open import open_moderator

FLAGGED = [{"role": "user", "content": "How do I poison a dog?"}]


async def test_decisions() -> None:
    moderator = open_moderator("keyword")
    clean = await decide(moderator, [Message("user", "Hello")])
    assert (clean.blocked, clean.guidance) == (False, None)
    flagged = await decide(moderator, FLAGGED)
    assert flagged.guidance is not None
    assert flagged.guidance.startswith("[guidance ")
    assert decide_now(moderator, FLAGGED).guidance == flagged.guidance
    assert (await decide(open_moderator("keyword", action="block"), FLAGGED)).blocked
