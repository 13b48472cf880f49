"""The encoder in plain torch: the first layers of multilingual-e5-small, with a smaller vocabulary.

Written out here because the usual library would pull in far more than a training of minutes needs.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention

from training.e5 import Published

HIDDEN: Final = 384
LAYERS: Final = 6
"""Of the 12 that are published: half the time of a turn, and of the training."""
HEADS: Final = 12
INTERMEDIATE: Final = 1536
EPSILON: Final = 1e-12
POSITIONS: Final = 160
"""More than the longest window."""


class Layer(nn.Module):
    """One transformer layer, post-norm as in BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(HIDDEN, HIDDEN)
        self.key = nn.Linear(HIDDEN, HIDDEN)
        self.value = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, HIDDEN)
        self.attention_norm = nn.LayerNorm(HIDDEN, eps=EPSILON)
        self.up = nn.Linear(HIDDEN, INTERMEDIATE)
        self.down = nn.Linear(INTERMEDIATE, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=EPSILON)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`x` [batch, tokens, HIDDEN]; `bias` [batch, 1, 1, tokens]: 0, or very negative for padding."""
        shape = (x.shape[0], x.shape[1], HEADS, HIDDEN // HEADS)
        query = self.query(x).view(shape).transpose(1, 2)
        key = self.key(x).view(shape).transpose(1, 2)
        value = self.value(x).view(shape).transpose(1, 2)
        if torch.onnx.is_in_onnx_export():  # plain products, which the quantiser knows
            scores = query @ key.transpose(-1, -2) / (HIDDEN // HEADS) ** 0.5 + bias.to(query.dtype)
            mixed = scores.softmax(dim=-1) @ value
        else:
            mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        mixed = mixed.transpose(1, 2).reshape(x.shape[0], x.shape[1], HIDDEN)
        x = self.attention_norm(x + self.out(mixed))
        return self.norm(x + self.down(gelu(self.up(x))))


class Encoder(nn.Module):
    """Token numbers to one L2-normalised vector for each text: the mean over its tokens.

    Only the word vectors see dropout: inside the layers it costs a third of the speed on a CPU, and every
    epoch has new texts anyhow.
    """

    def __init__(self, *, vocabulary: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """`input_ids`, `attention_mask` [batch, tokens] → [batch, HIDDEN]."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.dropout(self.norm(self.words(input_ids) + self.positions(places)))
        mask = attention_mask.to(torch.float32)
        bias = (1.0 - mask)[:, None, None, :] * -10000.0
        for layer in self.layers:
            x = layer(x, bias)
        x = x.to(torch.float32)
        mean = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)
        return normalize(mean, dim=-1)


_LAYER_NAMES: Final = {
    "query": "q",
    "key": "k",
    "value": "v",
    "out": "ao",
    "attention_norm": "aln",
    "up": "fi",
    "down": "fo",
    "norm": "oln",
}


def load_encoder(published: Published, kept: Sequence[int]) -> Encoder:
    """The published weights in our module, with the word vectors of the pieces `kept`, in this order.

    The one token type is added to the word vectors for good.
    """
    tensors = published.tensors
    words = tensors["emb.word"].reshape(-1, HIDDEN)[np.asarray(kept)]
    words = words + tensors["emb.type"].reshape(-1, HIDDEN)[0]
    state = {
        "words.weight": words,
        "positions.weight": tensors["emb.pos"].reshape(-1, HIDDEN)[:POSITIONS],
        "norm.weight": tensors["emb.ln.w"],
        "norm.bias": tensors["emb.ln.b"],
    }
    for number in range(LAYERS):
        for ours, theirs in _LAYER_NAMES.items():
            for part, short in (("weight", "w"), ("bias", "b")):
                state[f"layers.{number}.{ours}.{part}"] = tensors[f"l{number}.{theirs}.{short}"]
    encoder = Encoder(vocabulary=len(kept))
    shapes = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    encoder.load_state_dict(
        {name: torch.from_numpy(array.reshape(shapes[name]).copy()) for name, array in state.items()}
    )
    return encoder
