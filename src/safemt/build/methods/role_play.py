"""`role_play`: a story or a part to play from the first turn on, the ask inside it."""

import random

from safemt.build.methods.base import Blanks, Material, narrowing, template_lines
from safemt.core.taxonomy import Method

_FILE = "role_play.yaml"


class RolePlay:
    """See data/role_play.yaml."""

    method = Method.ROLE_PLAY
    fewest_turns = 2

    def write(self, material: Material, turns: int, chance: random.Random) -> list[str]:
        """Frame, k-2 scenes, ask in the role."""
        blanks = Blanks(material, chance)
        lines = [
            chance.choice(template_lines(_FILE, "openers")),
            *narrowing(template_lines(_FILE, "follows"), turns - 2, chance),
            chance.choice(template_lines(_FILE, "asks")),
        ]
        return [text for line in lines for text in blanks.fill(line)]
