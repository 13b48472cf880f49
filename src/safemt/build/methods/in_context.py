"""`in_context`: worked pairs about other pictures, all of one form, then the ask in that form."""

import random
from functools import cache

from safemt.build.methods.base import Blanks, Material, fillers
from safemt.build.words import load_data
from safemt.core.taxonomy import Method

_LETTERS = "ABCDEFGHJKLMNPRSTUVWX"


class InContext:
    """See data/in_context.yaml. The pairs are placeholders: they carry no instruction of any kind."""

    method = Method.IN_CONTEXT
    fewest_turns = 2

    def write(self, material: Material, turns: int, chance: random.Random) -> list[str]:
        """k-1 pairs, then the ask."""
        blanks = Blanks(material, chance)
        family = chance.choice(_families())
        objects = chance.sample(fillers()["object"], turns - 1)
        spots = chance.sample(fillers()["spot"], turns - 1)
        start = chance.randrange(len(_LETTERS))
        texts: list[str] = []
        for number, (shown, spot) in enumerate(zip(objects, spots, strict=True), start=1):
            letter = _LETTERS[(start + number) % len(_LETTERS)]
            pair = blanks.fill(
                (family["user"], family["assistant"]), object=shown, spot=spot, n=str(number), label=letter
            )
            texts += pair
        texts[0] = f"{blanks.fill((family['first'],))[0]} {texts[0]}"
        return [*texts, *blanks.fill((family["final"],))]


@cache
def _families() -> tuple[dict[str, str], ...]:
    return tuple(load_data("in_context.yaml")["families"])
