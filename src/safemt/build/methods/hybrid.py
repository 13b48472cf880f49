"""`hybrid`: one worked pair, then a shorter gradual dialogue whose ask points back at the pair."""

import random

from safemt.build.methods.base import Blanks, Material, fillers, narrowing, template_lines
from safemt.core.taxonomy import Method

_FILE = "hybrid.yaml"


class Hybrid:
    """See data/hybrid.yaml; the follow-ups are those of `gradual`."""

    method = Method.HYBRID
    fewest_turns = 3

    def write(self, material: Material, turns: int, chance: random.Random) -> list[str]:
        """Worked pair, the turn to the attached picture, k-3 follow-ups, ask."""
        blanks = Blanks(material, chance)
        shown = chance.choice(fillers()["object"])
        lines = [
            chance.choice(template_lines(_FILE, "openers")),
            chance.choice(template_lines(_FILE, "turns")),
            *narrowing(template_lines("gradual.yaml", "follows"), turns - 3, chance),
            chance.choice(template_lines(_FILE, "asks")),
        ]
        return [text for line in lines for text in blanks.fill(line, object=shown)]
