"""Closed lists of words that the rules of the parser know by name."""

from typing import Final

MAKES: Final = frozenset(
    ["write", "create", "generate", "develop", "design", "compose", "draft", "make", "produce", "draw", "build", "prepare", "publish", "script", "craft", "code", "program", "invent", "fabricate", "author", "rewrite", "paint"]
)
"""Verbs whose object is a text or a thing to be made."""
GIVES: Final = frozenset(
    ["give", "provide", "outline", "list", "suggest", "explain", "describe", "show", "teach", "instruct", "tell", "offer", "brainstorm", "devise", "share", "recommend", "detail", "summarize", "identify", "name", "find", "define", "discuss", "elaborate", "state", "present", "illustrate", "demonstrate", "guide", "advise", "propose", "imagine", "enumerate", "analyze", "compare", "detail", "repeat", "recite", "reveal"]
)
"""Verbs whose object is something to be told."""
PERSUADES: Final = frozenset(
    ["convince", "persuade", "encourage", "argue", "advocate", "promote", "glorify", "justify", "claim", "urge"]
)
"""Verbs that ask for a text which does just that."""
GUIDES: Final = frozenset(
    ["instruction", "instructions", "guide", "guideline", "tutorial", "step", "steps", "plan", "way", "ways", "method", "methods", "tip", "tips", "guidance", "advice", "strategy", "strategies", "idea", "ideas", "suggestion", "manual", "recipe", "process", "list", "technique", "tactic", "means", "set", "walkthrough", "procedure", "blueprint", "trick", "example", "video", "course", "article", "blog", "post", "program", "script"]
) - frozenset(["program", "script", "list", "set", "example", "article", "post", "blog", "video", "course"])
"""Nouns behind which the act itself is named."""
INSTRUCTING: Final = (
    MAKES
    | GIVES
    | GUIDES
    | frozenset(
        ["detailed", "step-by-step", "detail", "effective", "comprehensive", "good", "best", "possible", "different", "several"]
    )
) - frozenset(["fabricate", "code", "program", "invent", "teach", "publish", "trick"])
"""Lemmas that give an order or frame it, and say nothing about what is asked."""

PEOPLE: Final = frozenset(
    ["people", "person", "man", "woman", "men", "women", "employee", "worker", "employer", "boss", "manager", "coworker", "colleague", "friend", "neighbor", "neighbour", "enemy", "victim", "customer", "client", "user", "patient", "doctor", "nurse", "teacher", "professor", "politician", "president", "senator", "voter", "citizen", "immigrant", "refugee", "minority", "group", "elder", "elderly", "senior", "adult", "individual", "member", "family", "wife", "husband", "girlfriend", "boyfriend", "partner", "ex", "spouse", "mother", "father", "parent", "sister", "brother", "roommate", "landlord", "tenant", "celebrity", "actor", "singer", "officer", "police", "cop", "soldier", "guard", "judge", "lawyer", "jury", "witness", "driver", "tourist", "stranger", "hacker", "investor", "competitor", "candidate", "applicant", "donor", "follower", "muslim", "jew", "christian", "american", "african", "mexican", "asian", "jewish", "black", "white", "gay", "lesbian", "homosexual", "transgender", "crowd", "staff", "public", "audience", "passenger", "owner", "buyer", "seller", "holder", "resident", "homeless", "veteran", "addict", "suspect", "official", "agent", "somebody", "someone", "anyone", "everyone", "author", "player", "fan", "rival", "believer", "protester", "activist", "journalist", "reporter", "executive", "leader", "king", "queen", "pope", "prophet", "feminist", "liberal", "conservative", "democrat", "republican", "communist", "nazi", "terrorist", "criminal", "prisoner"]
)
"""Nouns for persons and groups of them, as lemmas."""
