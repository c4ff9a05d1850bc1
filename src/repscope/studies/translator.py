"""An encoder–decoder Transformer for translation, with the four taps of Kornblith et al. (2019), Appendix F.1.

The encoder has 12 sublayers, self-attention and feed-forward network in turn. Each is built as in figure F.2 of the
paper: layer normalisation without scale, a scale for each channel, the operation itself, and the sum with what came in.
All four are modules of their own, so that forward hooks see them.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from repscope.errors import InputError
from repscope.studies._random import random_state
from repscope.studies.vocabulary import PAD

TAPS = MappingProxyType(
    {
        "layer-norm": "layer_norm",
        "scale": "scale",
        "operation": "operation",
        "residual": "residual",
    }
)
"""The places in a sublayer where the paper compares: their names in files to the names of the modules."""


class ChannelScale(nn.Module):
    """Multiply each channel by a weight, 1 at first.

    Args:
        width: Number of channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (…, width) times the weights."""
        return x * self.weight


class Attention(nn.Module):
    """Attention with several heads, softmax(Q Kᵀ / √d) V for each.

    Args:
        width: Number of channels, a multiple of ``heads``.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self._heads = heads

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """Return what the tokens ``x`` find in ``memory``.

        Args:
            x: Shape (sentences, tokens, width).
            memory: Shape (sentences, other tokens, width).
            mask: Booleans (sentences, other tokens), True where there is something to be found; None: everywhere.
            causal: Each token finds those up to its own place only.
        """
        # Written out: on a CPU, for sentences of a dozen tokens, PyTorch's fused kernel takes as long as all the rest.
        query, key, value = self.query(x), self.key(memory), self.value(memory)
        query, key, value = self._by_head(query), self._by_head(key), self._by_head(value)
        fit = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
        if mask is not None:
            fit = fit.masked_fill(~mask[:, None, None, :], -torch.inf)
        if causal:
            later = torch.ones(fit.shape[-2:], dtype=torch.bool, device=fit.device).triu(1)
            fit = fit.masked_fill(later, -torch.inf)
        found = fit.softmax(-1).to(value.dtype) @ value
        mixed: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return mixed

    def _by_head(self, x: Tensor) -> Tensor:
        sentences, tokens, width = x.shape
        return x.view(sentences, tokens, self._heads, width // self._heads).transpose(1, 2)


class SelfAttention(Attention):
    """Attention of tokens to the tokens of their own sentence."""

    def forward(self, x: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:  # type: ignore[override]
        """As :meth:`Attention.forward`, with ``x`` as the memory."""
        return super().forward(x, x, mask, causal=causal)


class FeedForward(nn.Module):
    """Two linear layers with ReLU between them, on each token by itself.

    Args:
        width: Number of channels.
        inner: Number of hidden units.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the result of the same shape (sentences, tokens, width)."""
        result: Tensor = self.outer(functional.relu(self.inner(x)))
        return result


class Residual(nn.Module):
    """The sum of what a sublayer took and what its operation made of it."""

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        """Return the sum."""
        return x + change


class Sublayer(nn.Module):
    """Layer normalisation, channel-wise scale, an operation, and the residual connection around them (figure F.2).

    Args:
        operation: Takes and gives (sentences, tokens, width).
        width: Number of channels.
        dropout: Share of the operation's output that is left out in training.
    """

    def __init__(self, operation: nn.Module, width: int, dropout: float) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.scale = ChannelScale(width)
        self.operation = operation
        self.dropout = nn.Dropout(dropout)
        self.residual = Residual()

    def forward(self, x: Tensor, *arguments: Tensor | None, **options: bool) -> Tensor:
        """Return the residual stream after the sublayer; what follows ``x`` goes to the operation."""
        change = self.operation(self.scale(self.layer_norm(x)), *arguments, **options)
        stream: Tensor = self.residual(x, self.dropout(change))
        return stream


class Encoder(nn.Module):
    """Sublayers ``attention1``, ``ffn1``, ``attention2``, …, then a layer normalisation.

    Args:
        layers: Pairs of an attention and a feed-forward sublayer.
        width: Number of channels.
        heads: Heads of each attention.
        inner: Hidden units of each feed-forward network.
        dropout: Share of the sublayers' outputs and of the embedding that is left out in training.
    """

    def __init__(self, layers: int, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self._layers = layers
        for number in range(1, layers + 1):
            self.add_module(f"attention{number}", Sublayer(SelfAttention(width, heads), width, dropout))
            self.add_module(f"ffn{number}", Sublayer(FeedForward(width, inner), width, dropout))
        self.norm = nn.LayerNorm(width)

    @property
    def sublayers(self) -> tuple[str, ...]:
        """Names of the sublayers, first to last."""
        return tuple(f"{kind}{number}" for number in range(1, self._layers + 1) for kind in ("attention", "ffn"))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Return the memory that the decoder looks into.

        Args:
            x: Embedded tokens (sentences, tokens, width).
            real: Booleans (sentences, tokens), False at padding.
        """
        for number in range(1, self._layers + 1):
            x = self.get_submodule(f"attention{number}")(x, real)
            x = self.get_submodule(f"ffn{number}")(x)
        memory: Tensor = self.norm(x)
        return memory


class Decoder(nn.Module):
    """Blocks of self-attention, attention to the encoder, and feed-forward network, then a layer normalisation.

    Args:
        layers: Number of blocks.
        width: Number of channels.
        heads: Heads of each attention.
        inner: Hidden units of each feed-forward network.
        dropout: Share of the sublayers' outputs and of the embedding that is left out in training.
    """

    def __init__(self, layers: int, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self._layers = layers
        for number in range(1, layers + 1):
            self.add_module(f"attention{number}", Sublayer(SelfAttention(width, heads), width, dropout))
            self.add_module(f"lookup{number}", Sublayer(Attention(width, heads), width, dropout))
            self.add_module(f"ffn{number}", Sublayer(FeedForward(width, inner), width, dropout))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor, real: Tensor) -> Tensor:
        """Return the stream (sentences, tokens, width) from which the next tokens are read.

        Args:
            x: Embedded tokens (sentences, tokens, width), from ``BEGIN`` on. Padding at the end changes nothing
                before it.
            memory: Of the encoder, (sentences, source tokens, width).
            real: Booleans (sentences, source tokens), False at padding.
        """
        for number in range(1, self._layers + 1):
            x = self.get_submodule(f"attention{number}")(x, causal=True)
            x = self.get_submodule(f"lookup{number}")(x, memory, real)
            x = self.get_submodule(f"ffn{number}")(x)
        stream: Tensor = self.norm(x)
        return stream


class Embedding(nn.Module):
    """A vector for each token, scaled by √width, plus the sines and cosines of its place (Vaswani et al. 2017, 3.5).

    Args:
        vocabulary: Number of tokens.
        width: Number of channels, even.
        dropout: Share left out in training.
    """

    def __init__(self, vocabulary: int, width: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocabulary, width) / math.sqrt(width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return vectors (sentences, tokens, width)."""
        width = self.weight.shape[1]
        vectors = functional.embedding(tokens, self.weight) * math.sqrt(width)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        result: Tensor = self.dropout(vectors + _waves(places, width).to(vectors.dtype))
        return result


def _waves(places: Tensor, width: int) -> Tensor:
    rates = torch.exp(torch.arange(0, width, 2, device=places.device) * (-math.log(10_000) / width))
    angles = places[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


class Translator(nn.Module):
    """Encoder and decoder over one vocabulary of both languages, whose embedding also reads the output.

    Args:
        vocabulary: Number of tokens.
        width: Number of channels of the residual stream, even and a multiple of ``heads``.
        heads: Heads of each attention.
        inner: Hidden units of each feed-forward network.
        layers: Pairs of sublayers of the encoder.
        decoder_layers: Blocks of the decoder.
        dropout: Share of the sublayers' outputs and of the embedding that is left out in training.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        width: int,
        heads: int,
        inner: int,
        layers: int,
        decoder_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(vocabulary, width, dropout)
        self.encoder = Encoder(layers, width, heads, inner, dropout)
        self.decoder = Decoder(decoder_layers, width, heads, inner, dropout)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return logits (sentences, target tokens, vocabulary) of the token after each of ``target``.

        Args:
            source: Tokens (sentences, source tokens), each sentence up to its ``END``, then ``PAD``.
            target: Tokens (sentences, target tokens), each sentence from its ``BEGIN`` on, then ``PAD``.
        """
        return self.logits(self.decode(target, self.encode(source), source))

    def encode(self, source: Tensor) -> Tensor:
        """Return the memory (sentences, source tokens, width) of ``source``."""
        memory: Tensor = self.encoder(self.embedding(source), source != PAD)
        return memory

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """Return the decoder's stream (sentences, target tokens, width)."""
        stream: Tensor = self.decoder(self.embedding(target), memory, source != PAD)
        return stream

    def logits(self, stream: Tensor) -> Tensor:
        """Read the next tokens from the decoder's stream (…, width)."""
        return functional.linear(stream, self.embedding.weight)


def translator(
    *,
    vocabulary: int,
    seed: int | None,
    width: int = 128,
    heads: int = 4,
    inner: int = 256,
    layers: int = 6,
    decoder_layers: int = 1,
    dropout: float = 0.0,
) -> Translator:
    """Build an untrained translator; the paper compares its encoder.

    Args:
        vocabulary: Number of tokens of both languages together.
        seed: Of the initial weights; None: PyTorch's global generator.
        width: Number of channels.
        heads: Heads of each attention.
        inner: Hidden units of each feed-forward network.
        layers: Of the encoder; each is two sublayers.
        decoder_layers: Of the decoder.
        dropout: Share of the sublayers' outputs and of the embedding that is left out in training.

    Raises:
        InputError: A size is not positive, or ``width`` is odd or no multiple of ``heads``.
    """
    sizes = {
        "vocabulary": vocabulary,
        "width": width,
        "heads": heads,
        "inner": inner,
        "layers": layers,
        "decoder_layers": decoder_layers,
    }
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"translator: {name} must be at least 1, got {value}.")
    if width % 2 or width % heads:
        raise InputError(
            f"translator: width must be even and a multiple of heads, got width {width} with {heads} heads."
        )
    if not 0 <= dropout < 1:
        raise InputError(f"translator: dropout must be from 0 to below 1, got {dropout}.")
    with random_state(seed):
        return Translator(
            vocabulary,
            width=width,
            heads=heads,
            inner=inner,
            layers=layers,
            decoder_layers=decoder_layers,
            dropout=dropout,
        )


def tapped_layers(model: Translator, tap: str) -> tuple[str, ...]:
    """Names of the encoder's modules at one of the ``TAPS``, first sublayer first.

    Raises:
        InputError: There is no such tap.
    """
    if tap not in TAPS:
        raise InputError(f"tapped_layers: tap must be one of {', '.join(TAPS)}, got {tap!r}.")
    return tuple(f"encoder.{name}.{TAPS[tap]}" for name in model.encoder.sublayers)
