"""Stage 1: the encoder learns to tell harmful texts from harmless ones, alone and behind earlier turns."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.embedded.features import Probe
from safemt.moderation.detectors.embedded.windows import context_window, turn_windows
from training.corpus import Example
from training.encoder import HIDDEN, Encoder, load_encoder

BATCH: Final = 64
ENCODER_RATE: Final = 6e-5
PROBE_RATE: Final = 2e-3
WARM_UP: Final = 0.08
SMOOTHING: Final = 0.03
SCENARIO_SHARE: Final = 0.15
SCALE: Final = 12.0
"""By what a unit vector is multiplied before the linear layers, so that their weights can stay small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The encoder after its training, and what reads the harm off its vectors."""

    encoder: Encoder
    probe: Probe


class Tuning(nn.Module):
    """The encoder with its two readings: harmful or not, and which scenario."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.harm = nn.Linear(HIDDEN, 1)
        self.scenario = nn.Linear(HIDDEN, len(Scenario))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, tokens] twice → the logit of harm, [batch], and those of the scenarios, [batch, 17]."""
        vectors = SCALE * self.encoder(ids, mask)
        return self.harm(vectors)[:, 0], self.scenario(vectors)


def fine_tune(
    draw: Callable[[int], Sequence[Example]],
    tokenizer: Tokenizer,
    *,
    epochs: int,
    seed: int,
    tell: Callable[[str], None],
) -> Tuned:
    """Train on `draw(epoch)` for every epoch; each is a new draw, so that no wording is seen too often."""
    torch.manual_seed(seed)
    chance = random.Random(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Tuning(load_encoder()).to(device)
    for still in (model.encoder.words, model.encoder.positions):
        still.requires_grad_(False)
    moving = [weight for weight in model.encoder.parameters() if weight.requires_grad]
    heads = [*model.harm.parameters(), *model.scenario.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": moving, "lr": ENCODER_RATE}, {"params": heads, "lr": PROBE_RATE}], weight_decay=0.02
    )
    first = _encoded(draw(0), tokenizer)
    total = epochs * math.ceil(len(first) / BATCH)
    plan = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    model.train()
    done, began = 0, time.monotonic()
    for epoch in range(epochs):
        items = first if epoch == 0 else _encoded(draw(epoch), tokenizer)
        sum_loss = sum_weight = 0.0
        for batch in _batches(items, chance):
            loss, weight = _loss(model, batch, device)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(moving, 1.0)
            optimiser.step()
            plan.step()
            done += 1
            sum_loss, sum_weight = sum_loss + float(loss.detach()) * weight, sum_weight + weight
            if done % 50 == 0:
                tell(f"epoch {epoch + 1} step {done}/{total} loss {sum_loss / sum_weight:.4f} "
                     f"{time.monotonic() - began:.0f} s")  # fmt: skip
    model = model.cpu().eval()
    layers = (model.harm, model.scenario)
    probe = Probe(
        weight=SCALE * torch.cat([layer.weight.detach() for layer in layers]).numpy(),
        bias=torch.cat([layer.bias.detach() for layer in layers]).numpy(),
    )
    return Tuned(encoder=model.encoder, probe=probe)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    ids: list[int]
    target: float
    weight: float
    scenario: int


def _encoded(examples: Sequence[Example], tokenizer: Tokenizer) -> list[_Item]:
    texts = sorted({text for example in examples for text in (example.text, *example.before)})
    codes = {
        text: code.ids
        for text, code in zip(
            texts, tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True
        )
    }
    items = []
    for example in examples:
        ids = codes[example.text]
        window = (
            context_window([codes[text] for text in example.before], ids)
            if example.before
            else turn_windows(ids)[0]
        )
        items.append(
            _Item(
                ids=window,
                target=example.target,
                weight=example.weight,
                scenario=-1 if example.scenario is None else example.scenario,
            )
        )
    return items


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
    target = torch.tensor([item.target for item in batch], device=device)
    weight = torch.tensor([item.weight for item in batch], device=device)
    scenario = torch.tensor([item.scenario for item in batch], device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        harm, named = model(ids, mask)
    smooth = target * (1 - 2 * SMOOTHING) + SMOOTHING
    losses = binary_cross_entropy_with_logits(harm.float(), smooth, reduction="none")
    loss = (losses * weight).sum() / weight.sum().clamp(min=1.0)
    if bool((scenario >= 0).any()):
        loss = loss + SCENARIO_SHARE * cross_entropy(named.float(), scenario, ignore_index=-1)
    return loss, float(weight.sum())


def _rate(step: int, total: int) -> float:
    warm = WARM_UP * total
    return (step + 1) / warm if step < warm else max(0.0, (total - step) / (total - warm))
