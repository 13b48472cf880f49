"""Stage 2: the head learns to join the readings of a turn's parts and of its context into one logit."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from safemt.moderation.detectors.embedded.features import FEATURES
from safemt.moderation.detectors.embedded.head import ALONE, IN_CONTEXT, Head
from training.dialogues import Dialogue
from training.vectors import ReadTurn

SIZE: Final = 12
BATCH: Final = 256
RATE: Final = 5e-3
SCALE: Final = 0.3
"""Logits are brought to about unit size for training; the weights that ship have it multiplied in."""
OF_CONTEXT: Final = (0, 6)
"""Features that know of earlier turns: the turn by itself is judged without them."""


class _Joining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(FEATURES, SIZE)
        self.out = nn.Linear(SIZE + FEATURES, 1)
        self.alone = nn.Linear(FEATURES, 1)
        own = torch.ones(FEATURES)
        own[list(OF_CONTEXT)] = 0.0
        self.register_buffer("own", own)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([torch.tanh(self.hidden(x)), x], dim=-1)
        return torch.cat([self.alone(x * self.own), self.out(both)], dim=-1)


def train_head(
    turns: Sequence[Sequence[ReadTurn]],
    dialogues: Sequence[Dialogue],
    *,
    epochs: int,
    seed: int,
    tell: Callable[[str], None],
) -> Head:
    """Train on the turns of dialogues, each with its targets."""
    torch.manual_seed(seed)
    chance = random.Random(seed)
    x, targets, weights = _arrays(turns, dialogues)
    model = _Joining()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    batches = math.ceil(len(x) / BATCH)
    plan = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / (epochs * batches))))
    )
    order = list(range(len(x)))
    for epoch in range(epochs):
        chance.shuffle(order)
        total = 0.0
        for start in range(0, len(order), BATCH):
            rows = torch.tensor(order[start : start + BATCH])
            losses = binary_cross_entropy_with_logits(
                model(SCALE * x[rows]), targets[rows] * 0.98 + 0.01, reduction="none"
            )
            loss = ((losses * weights[rows]).sum(0) / weights[rows].sum(0).clamp(min=1.0)).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            plan.step()
            total += float(loss.detach())
        if epoch % 5 == 4:
            tell(f"head epoch {epoch + 1}/{epochs} loss {total / batches:.4f}")
    return _head(model)


def _arrays(
    turns: Sequence[Sequence[ReadTurn]], dialogues: Sequence[Dialogue]
) -> tuple[Tensor, Tensor, Tensor]:
    x, targets, weights = [], [], []
    for read, dialogue in zip(turns, dialogues, strict=True):
        # A long chat counts more than a short one, but not in proportion.
        share = 1.0 / math.sqrt(len(read))
        for turn, target in zip(read, dialogue.turns, strict=True):
            x.append(torch.from_numpy(turn.features))
            targets.append([target.own, target.risk])
            weights.append([share * target.own_weight, share * target.weight])
    return torch.stack(x), torch.tensor(targets), torch.tensor(weights)


def _head(model: _Joining) -> Head:
    state = {name: weight.detach() for name, weight in model.state_dict().items()}
    output = torch.zeros((2, SIZE + FEATURES))
    output[IN_CONTEXT] = state["out.weight"][0]
    output[IN_CONTEXT, SIZE:] *= SCALE
    output[ALONE, SIZE:] = state["alone.weight"][0] * state["own"] * SCALE
    bias = torch.cat([state["alone.bias"], state["out.bias"]])
    return Head(
        hidden_weight=(state["hidden.weight"] * SCALE).numpy(),
        hidden_bias=state["hidden.bias"].numpy(),
        output_weight=output.numpy(),
        output_bias=bias.numpy(),
    )
