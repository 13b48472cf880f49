"""`gradual`: a harmless opener, ever narrower follow-ups, the ask last and indirect."""

import random

from safemt.build.methods.base import Blanks, Material, narrowing, template_lines
from safemt.core.taxonomy import Method

_FILE = "gradual.yaml"


class Gradual:
    """See data/gradual.yaml."""

    method = Method.GRADUAL
    fewest_turns = 2

    def write(self, material: Material, turns: int, chance: random.Random) -> list[str]:
        """Opener, k-2 follow-ups, ask."""
        blanks = Blanks(material, chance)
        lines = [
            chance.choice(template_lines(_FILE, "openers")),
            *narrowing(template_lines(_FILE, "follows"), turns - 2, chance),
            chance.choice(template_lines(_FILE, "asks")),
        ]
        return [text for line in lines for text in blanks.fill(line)]
