"""Stage 1: the encoder learns to tell harmful texts from harmless ones, alone and behind earlier turns."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.embedded.features import Probe
from safemt.moderation.detectors.embedded.unigram import Unigram
from safemt.moderation.detectors.embedded.windows import context_window, ends, part_window, parts
from training.corpus import Example
from training.encoder import HIDDEN, Encoder

BATCH: Final = 64
PROBE_RATES: Final = 33.0
"""By how much faster the readings learn than the encoder."""
WARM_UP: Final = 0.08
KEEP_EVERY: Final = 100
"""Batches after which the state of the training is written."""
SMOOTHING: Final = 0.03
SCENARIO_SHARE: Final = 0.15
SUPPORT_SHARE: Final = 0.2
SCALE: Final = 12.0
"""By what a unit vector is multiplied before the linear layers, so that their weights can stay small."""


class Tuning(nn.Module):
    """The encoder with its readings: harmful or not, distress or not, and which scenario."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.harm = nn.Linear(HIDDEN, 2)
        self.scenario = nn.Linear(HIDDEN, len(Scenario))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, tokens] twice → logits of harm and distress, [batch, 2], and of scenarios, [batch, 17]."""
        vectors = SCALE * self.encoder(ids, mask)
        return self.harm(vectors), self.scenario(vectors)

    def probe(self) -> Probe:
        """The readings as numpy arrays."""
        layers = (self.harm, self.scenario)
        return Probe(
            weight=SCALE * torch.cat([layer.weight.detach() for layer in layers]).numpy(),
            bias=torch.cat([layer.bias.detach() for layer in layers]).numpy(),
        )


def fine_tune(
    model: Tuning,
    draw: Callable[[int], Sequence[Example]],
    tokenizer: Unigram,
    *,
    epochs: int,
    rate: float,
    seed: int,
    keep: Path,
    tell: Callable[[str], None],
) -> Tuning:
    """Train on `draw(epoch)` for every epoch; each is a new draw, so that no wording is seen too often.

    Where `keep` holds the state of a training that was stopped, it goes on from there.
    """
    torch.manual_seed(seed)
    chance = random.Random(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    for still in (model.encoder.words, model.encoder.positions):
        still.requires_grad_(False)
    moving = [weight for weight in model.encoder.parameters() if weight.requires_grad]
    heads = [*model.harm.parameters(), *model.scenario.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": moving, "lr": rate}, {"params": heads, "lr": PROBE_RATES * rate}], weight_decay=0.02
    )
    first = _encoded(draw(0), tokenizer, chance)
    total = epochs * math.ceil(len(first) / BATCH)
    plan = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    model.train()
    done, began = _resumed(keep, model, optimiser, plan), time.monotonic()
    skip = done
    for epoch in range(epochs):
        items = first if epoch == 0 else _encoded(draw(epoch), tokenizer, chance)
        sum_loss = sum_weight = 0.0
        for batch in _batches(items, random.Random(f"{seed} batches {epoch}")):
            if skip:
                skip -= 1
                continue
            loss, weight = _loss(model, batch, device)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(moving, 1.0)
            optimiser.step()
            plan.step()
            done += 1
            sum_loss, sum_weight = sum_loss + float(loss.detach()) * weight, sum_weight + weight
            if done % KEEP_EVERY == 0:
                _save(keep, done, model, optimiser, plan)
            if done % 50 == 0:
                tell(f"epoch {epoch + 1} step {done}/{total} loss {sum_loss / sum_weight:.4f} "
                     f"{time.monotonic() - began:.0f} s")  # fmt: skip
    return model.cpu().eval()


class _Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object: ...


def _save(path: Path, done: int, *parts: _Stateful) -> None:
    """Write where the training is, so that it can go on from there."""
    half = path.with_suffix(".half")
    torch.save({"done": done, "states": [part.state_dict() for part in parts]}, half)
    half.replace(path)


def _resumed(path: Path, *parts: _Stateful) -> int:
    """Batches that were done before the training was stopped; their states are loaded."""
    if not path.exists():
        return 0
    kept = torch.load(path, weights_only=True)
    for part, state in zip(parts, kept["states"], strict=True):
        part.load_state_dict(state)
    return int(kept["done"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    ids: list[int]
    target: float
    support: float
    weight: float
    scenario: int


def _encoded(examples: Sequence[Example], tokenizer: Unigram, chance: random.Random) -> list[_Item]:
    items = []
    for example in examples:
        if example.before:
            before = [ends(tokenizer.tokens(text)) for text in example.before[-4:]]
            window = context_window(before, tokenizer.tokens(example.text))
        else:
            window = part_window(_part(example, tokenizer, chance))
        items.append(
            _Item(
                ids=window,
                target=example.target,
                support=example.support,
                weight=example.weight,
                scenario=-1 if example.scenario is None else example.scenario,
            )
        )
    return items


def _part(example: Example, tokenizer: Unigram, chance: random.Random) -> list[int]:
    """The part that carries the label: the one with most of the request, the first or the last, or any."""
    found = parts(example.text, tokenizer.tokens)
    if example.core:
        core = set(tokenizer.tokens(example.core))
        return max(found, key=lambda ids: len(core.intersection(ids)))
    return found[0] if example.target > 0.5 and chance.random() < 0.6 else chance.choice(found)


def _batches(items: Sequence[_Item], chance: random.Random) -> Iterator[list[_Item]]:
    """Batches of texts of like length, in random order."""
    order = sorted(items, key=lambda item: len(item.ids) + 6 * chance.random())
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    chance.shuffle(batches)
    yield from batches


def _loss(model: Tuning, batch: Sequence[_Item], device: torch.device) -> tuple[Tensor, float]:
    longest = -(-max(len(item.ids) for item in batch) // 8) * 8  # few shapes: a new one costs a compilation
    ids = torch.tensor([item.ids + [0] * (longest - len(item.ids)) for item in batch], device=device)
    mask = torch.tensor(
        [[1] * len(item.ids) + [0] * (longest - len(item.ids)) for item in batch], device=device
    )
    target = torch.tensor([[item.target, item.support] for item in batch], device=device)
    weight = torch.tensor([item.weight for item in batch], device=device)
    scenario = torch.tensor([item.scenario for item in batch], device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        harm, named = model(ids, mask)
    smooth = target * (1 - 2 * SMOOTHING) + SMOOTHING
    losses = binary_cross_entropy_with_logits(harm.float(), smooth, reduction="none")
    shares = torch.tensor([1.0, SUPPORT_SHARE], device=device)
    loss = ((losses * shares).sum(1) * weight).sum() / weight.sum().clamp(min=1.0)
    if bool((scenario >= 0).any()):
        loss = loss + SCENARIO_SHARE * cross_entropy(named.float(), scenario, ignore_index=-1)
    return loss, float(weight.sum())


def _rate(step: int, total: int) -> float:
    warm = WARM_UP * total
    return (step + 1) / warm if step < warm else max(0.0, (total - step) / (total - warm))
