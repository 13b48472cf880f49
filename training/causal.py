"""Stage 2: the causal head learns from every prefix of whole dialogues, as the int8 encoder reads them."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.embedded.features import Floats
from safemt.moderation.detectors.embedded.head import INTENT, LINKAGE, SCENARIOS, TURN, Head
from training.dialogues import Dialogue

SIZE: Final = 24
BATCH: Final = 64
RATE: Final = 3e-3
DROPOUT: Final = 0.1
INPUT_SCALE: Final = 0.4
"""Logits are brought to about unit size for training; the weights that ship have it multiplied in."""
OUTPUTS: Final = SCENARIOS + len(Scenario)
_SHARES: Final = {TURN: 0.0, INTENT: 1.0, LINKAGE: 0.5}
"""The output for the turn alone is not trained: it is the probe's logit."""
_SCENARIO_SHARE: Final = 0.1


class _Causal(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.gru = nn.GRU(features, SIZE, batch_first=True)
        self.out = nn.Linear(SIZE + features, OUTPUTS)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x)
        state, _ = self.gru(x)
        found: Tensor = self.out(torch.cat([self.dropout(state), x], dim=-1))
        return found


def train_head(
    features: Sequence[Floats],
    dialogues: Sequence[Dialogue],
    *,
    epochs: int,
    seed: int,
    tell: Callable[[str], None],
) -> Head:
    """Train on dialogues with their features, [turns, features] each."""
    torch.manual_seed(seed)
    chance = random.Random(seed)
    width = features[0].shape[1]
    scale = torch.full((width,), INPUT_SCALE)
    model = _Causal(width)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    items = sorted(zip(features, dialogues, strict=True), key=lambda item: len(item[1].turns))
    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    total = epochs * len(batches)
    plan = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))
    )
    model.train()
    for epoch in range(epochs):
        chance.shuffle(batches)
        losses = 0.0
        for batch in batches:
            loss = _loss(model, batch, scale)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            plan.step()
            losses += float(loss.detach())
        tell(f"head epoch {epoch + 1}/{epochs} loss {losses / len(batches):.4f}")
    return _head(model.eval(), scale)


def run_head(head: Head, features: Floats) -> Floats:
    """The logits of a dialogue, [turns, outputs], turn by turn as at run time."""
    state = head.start()
    rows = []
    for row in features:
        logits, state = head.step(row, state)
        rows.append(logits)
    return np.stack(rows)


def _loss(model: _Causal, batch: Sequence[tuple[Floats, Dialogue]], scale: Tensor) -> Tensor:
    longest = max(len(dialogue.turns) for _, dialogue in batch)
    x = torch.zeros((len(batch), longest, len(scale)))
    targets = torch.zeros((len(batch), longest, SCENARIOS))
    weights = torch.zeros((len(batch), longest, SCENARIOS))
    scenario = torch.full((len(batch), longest), -1)
    for row, (features, dialogue) in enumerate(batch):
        x[row, : len(features)] = torch.from_numpy(features) * scale
        # A long chat counts more than a short one, but not in proportion.
        share = 1.0 / math.sqrt(len(dialogue.turns))
        for place, turn in enumerate(dialogue.turns):
            targets[row, place] = torch.tensor([turn.own, turn.intent, turn.risk])
            linked = turn.weight * (turn.intent >= 0.5)
            weights[row, place] = share * torch.tensor([0.0, turn.weight, linked])
            if dialogue.scenario is not None and turn.risk >= 0.5:
                scenario[row, place] = dialogue.scenario
    logits = model(x)
    losses = binary_cross_entropy_with_logits(
        logits[..., :SCENARIOS], targets * 0.98 + 0.01, reduction="none"
    )
    shares = torch.tensor([_SHARES[output] for output in range(SCENARIOS)])
    loss = ((losses * weights).sum((0, 1)) / weights.sum((0, 1)).clamp(min=1.0) * shares).sum()
    if bool((scenario >= 0).any()):
        named = cross_entropy(logits[..., SCENARIOS:].flatten(0, 1), scenario.flatten(), ignore_index=-1)
        loss = loss + _SCENARIO_SHARE * named
    return loss


def _head(model: _Causal, scale: Tensor) -> Head:
    state = {name: weight.detach() for name, weight in model.state_dict().items()}
    output = state["out.weight"].clone()
    output[:, SIZE:] *= scale
    output[TURN] = 0.0
    output[TURN, SIZE] = 1.0
    bias = state["out.bias"].clone()
    bias[TURN] = 0.0
    return Head(
        input_weight=(state["gru.weight_ih_l0"] * scale).numpy(),
        input_bias=state["gru.bias_ih_l0"].numpy(),
        state_weight=state["gru.weight_hh_l0"].numpy(),
        state_bias=state["gru.bias_hh_l0"].numpy(),
        output_weight=output.numpy(),
        output_bias=bias.numpy(),
    )
