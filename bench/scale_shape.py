"""The sizes of a model, from its transformers configuration, and how many weights each of its parts has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LLAMA = {"tie_word_embeddings": False, "hidden_act": "silu"}
LLAMA_7B = LLAMA | {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
LLAMA_7B |= {"num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000}
LLAMA_70B = LLAMA | {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80}
LLAMA_70B |= {"num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256}
BUILT_IN = {"7b": LLAMA_7B, "70b": LLAMA_70B}
"""Llama 2 7B and Llama 3 70B, as their published configurations have it."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a model: Llama's kind (gated, no biases), or GPT-2's (biases, and learned positions)."""

    width: int
    layers: int
    heads: int
    shared: int
    """Width of the keys, and of the values: key heads × head width."""
    inner: int
    vocabulary: int
    tied: bool
    positions: int = 0
    """Learned ones; a model that has them is of GPT-2's kind."""
    scalar: bool = False
    """A head of one number, as a critic's or reward model's, in place of the vocabulary's."""

    @property
    def matrices(self) -> int:
        """Weights in the matrices of one layer: queries and output, keys and values, and the MLP's two or three."""
        mlp = (2 if self.positions else 3) * self.width * self.inner
        return 2 * self.width**2 + 2 * self.width * self.shared + mlp

    @property
    def vectors(self) -> int:
        """Biases and norms of one layer."""
        biases = 3 * self.width + 2 * self.shared + self.inner if self.positions else 0
        return biases + 2 * self.norm

    @property
    def norm(self) -> int:
        return (2 if self.positions else 1) * self.width

    @property
    def embedding(self) -> int:
        return (self.vocabulary + self.positions) * self.width

    @property
    def head(self) -> int:
        """Weights of the head itself; a tied one is the embedding."""
        return self.width if self.scalar else 0 if self.tied else self.vocabulary * self.width

    @property
    def block(self) -> int:
        return self.matrices + self.vectors

    @property
    def root(self) -> int:
        """What FSDP2 keeps as one unit beside the blocks: embedding, last norm and head."""
        return self.embedding + self.norm + self.head

    @property
    def parameters(self) -> int:
        return self.layers * self.block + self.root

    def adapters(self, rank: int) -> int:
        """Weights of LoRA, rank × (in + out) for each matrix of the layers, and the scalar head, which is trained too.

        GPT-2 has one matrix for queries, keys and values.
        """
        attention = 6 * self.width if self.positions else 6 * self.width + 2 * self.shared
        mlp = (2 if self.positions else 3) * (self.width + self.inner)
        return self.layers * rank * (attention + mlp) + (self.head if self.scalar else 0)


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The sizes in a transformers configuration of Llama's or GPT-2's kind."""
    if "n_embd" in config:
        width, heads = config["n_embd"], config["n_head"]
        inner, tied = config.get("n_inner") or 4 * width, config.get("tie_word_embeddings", True)
        layers, positions = config["n_layer"], config["n_positions"]
        return Shape(width, layers, heads, width, inner, config["vocab_size"], tied, positions)
    width, heads = config["hidden_size"], config["num_attention_heads"]
    shared = (config.get("num_key_value_heads") or heads) * width // heads
    inner, tied = config["intermediate_size"], config.get("tie_word_embeddings", False)
    return Shape(width, config["num_hidden_layers"], heads, shared, inner, config["vocab_size"], tied)
