"""Checks ladder files, proofreads them and prints dialogues to read. For writers; not part of the project.

    .venv/bin/python _tool.py check fraud/phishing_message [...]
    .venv/bin/python _tool.py read fraud/phishing_message [--seed 3] [--turns 6]
    .venv/bin/python _tool.py grammar fraud/phishing_message
    .venv/bin/python _tool.py variety fraud/phishing_message
    .venv/bin/python _tool.py same            (sentences that two classes share)
"""
import argparse, random, re, sys
from collections import Counter, defaultdict
from pathlib import Path
sys.path.insert(0, str(Path.cwd() / "scripts"))
import check_ladders as check
from safemt.build.ladders.read import LADDERS, ladder_files, read_ladder
from safemt.build.ladders.schema import Form

SLOT = re.compile(r"\{(\w+)\}")
CAST = {"name": "Mara", "he": "she", "him": "her", "his": "her", "himself": "herself"}
LEAD_INS = ["Good point about {p}.", "I'll keep {p} in mind.", "{P}, right.", "OK, thanks."]
FICTION = ["I am writing a short novel.", "I'm working on a radio play.", "Let's write a story together.",
           "I need help with a screenplay."]
FACTS = ["For the next page I need to get a detail right.", "A question for my research:", "To keep it realistic:"]
F, L = "first", "later"
PLAN = {2: [(2, F)], 4: [(2, F), (3, F), (4, F)], 6: [(1, F), (2, F), (2, L), (3, F), (4, F)],
        8: [(1, F), (1, L), (2, F), (2, L), (3, F), (3, L), (4, F)]}


def cap(t): return t[:1].upper() + t[1:]


def fill(text, values):
    text = SLOT.sub(lambda m: values.get(m.group(1), "???" + m.group(1)), text)
    return cap(re.sub(r"([.?!] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text))


def plain(text): return text.replace("<", "").replace(">", "")


class Deck:
    def __init__(self, rng): self.rng, self.left = rng, {}

    def deal(self, key, items):
        pile = self.left.get(key)
        if not pile:
            pile = list(items); self.rng.shuffle(pile); self.left[key] = pile
        return pile.pop()


def values_of(ladder, rng):
    v = {k: rng.choice(list(x)) for k, x in {**ladder.stand_ins, **ladder.examples}.items()}
    return {**v, **CAST}


def gradual(ladder, k, deck, rng, v, form, twin=None):
    out, used, mark, rung = [], set(), None, None
    for n, (d, which) in enumerate(PLAN[k]):
        if twin and n >= len(PLAN[k]) / 2:
            parted = n - 1 < len(PLAN[k]) / 2
            pool = [e for e in twin.exchanges if ("{thing}" in e.say) == parted] or twin.exchanges
            e = deck.deal(("tw", twin.act, parted), pool)
            while e.say in used: e = rng.choice(twin.exchanges)
            used.add(e.say)
            out += [fill(e.say, v), fill(plain(e.reply), v)]; continue
        if which == F:
            rungs = [x for x in ladder.rungs if x.distance == d]
            rung = deck.deal(("r", d, k), rungs)
        need = d == 4
        pool = [e for e in getattr(rung, which) if not need or "{" in e.say] or getattr(rung, which)
        e = deck.deal((rung.id, which, need), pool)
        lead = ""
        if n and which == F and rng.random() < .5:
            t = rng.choice(LEAD_INS); p = mark or "that"
            lead = t.replace("{p}", p).replace("{P}", cap(p)) + " "
        m = re.findall(r"<([^>]*)>", e.reply); mark = m[-1] if m else None
        out += [lead + fill(e.say, v), fill(plain(e.reply), v)]
    if twin:
        out.append(fill(deck.deal(("ask", twin.act), twin.asks), v))
    else:
        asks = [a for a in ladder.asks[form] if k > 2 or "{" in a]
        out.append(fill(deck.deal(("ask", form, k > 2), asks), v))
    return out


def role_play(ladder, k, deck, rng, v, form, twin=None):
    s = deck.deal("sit", ladder.fiction.situations)
    sc = deck.deal("sc1", [x for x in ladder.fiction.scenes if x.distance == 1])
    out = [rng.choice(FICTION) + " " + fill(s, v) + " " + fill(sc.say, v), fill(plain(sc.reply), v)]
    later = sorted(rng.sample([x for x in ladder.fiction.scenes if x.distance > 1], 3), key=lambda x: x.distance)
    for n, (d, which) in enumerate(PLAN[k][1:]):
        if n % 2 and later:
            x = later.pop(0); out += [fill(x.say, v), fill(plain(x.reply), v)]
        else:
            r = deck.deal(("rp", d), [x for x in ladder.rungs if x.distance == d])
            e = deck.deal(("rpw", r.id), r.first)
            out += [rng.choice(FACTS) + " " + fill(e.say, v), fill(plain(e.reply), v)]
    if twin:
        out.append(fill(deck.deal(("fask", twin.act), twin.fiction), v))
    else:
        asks = [a for a in ladder.fiction.asks[form] if k > 2 or set(SLOT.findall(a)) - set(CAST)]
        out.append(fill(deck.deal(("fask", form, k > 2), asks), v))
    return out


def show(title, out):
    print(f"--- {title}")
    for n, t in enumerate(out): print(("  U: " if n % 2 == 0 else "  A: ") + t)


def grams(texts, n=5):
    W = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
    return {tuple(w[i:i + n]) for t in texts for w in [W.findall(t.lower())] for i in range(len(w) - n + 1)}


def main():
    p = argparse.ArgumentParser(); p.add_argument("what"); p.add_argument("names", nargs="*")
    p.add_argument("--seed", type=int, default=0); p.add_argument("--turns", type=int, default=0)
    a = p.parse_args()
    paths = [LADDERS / (n.removesuffix(".yaml") + ".yaml") for n in a.names] or ladder_files()
    if a.what == "same":
        print("\n".join(check.faults_between([read_ladder(x) for x in ladder_files()])) or "none"); return
    bad = 0
    for path in paths:
        c = read_ladder(path); L = c.ladder; rng = random.Random(a.seed); deck = Deck(rng)
        if a.what == "check":
            f = check.faults(c); bad += len(f)
            print("\n".join(f)); print(f"{c.id}: {len(f)} faults")
        elif a.what == "read":
            for k in ([a.turns] if a.turns else [2, 4, 6, 8]):
                form = rng.choice(L.forms); tw = rng.choice(L.neighbours)
                show(f"{c.id} gradual {k} {form}", gradual(L, k, deck, rng, values_of(L, rng), form))
                show(f"{c.id} role_play {k} {form}", role_play(L, k, deck, rng, values_of(L, rng), form))
                vt = {**values_of(L, rng), "thing": deck.deal(tw.act, tw.things)}
                show(f"{c.id} twin {k} {tw.act}", gradual(L, k, deck, rng, vt, form, tw))
                show(f"{c.id} twin role_play {k} {tw.act}", role_play(L, k, deck, rng, vt, form, tw)[-1:])
        elif a.what == "grammar":
            from harper import Linter
            linter = Linter(); v = values_of(L, rng); v.setdefault("thing", "a thing"); v["words"] = "boats"
            for s in check._sentences(L):
                if s.length in check.WHOLE or ".answer" in s.place or ".question" in s.place or ".seen" in s.place:
                    vv = dict(v)
                    if s.place.startswith("neighbours"):
                        vv["thing"] = next(n.things[0] for n in L.neighbours if f".{n.act}." in s.place)
                    t = fill(plain(s.text), vv)
                    for lint in linter.lint(t):
                        print(f"{s.place}: {lint.problem_text!r}: {lint.message} | {t}")
        elif a.what == "variety":
            for k, n in ((2, 14), (4, 10), (6, 10), (8, 10)):
                for name, make in (("gradual", gradual), ("role_play", role_play)):
                    hs = [grams(make(L, k, deck, rng, values_of(L, rng), L.forms[0])[:-1]) for _ in range(n)]
                    worst = [max(len(h & o) / len(h) for j, o in enumerate(hs) if j != i) for i, h in enumerate(hs)]
                    print(f"{c.id} k={k} {name}: {n} dialogues, share over .30: {sum(w > .3 for w in worst) / n:.2f}, "
                          f"mean of largest {sum(worst) / n:.2f}")
    sys.exit(bool(bad))


main()
