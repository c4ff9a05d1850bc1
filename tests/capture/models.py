"""Small networks with the structures that make capturing hard."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


def units(*widths: int) -> list[nn.Module]:
    """Convolution, batch norm, in-place ReLU, again and again."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return layers


def paper_net() -> nn.Sequential:
    """The skeleton of Kornblith et al. 2019: units, global average pooling, logits."""
    return nn.Sequential(*units(3, 4, 6, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


class Block(nn.Module):
    """A residual block as torchvision writes it: one in-place ReLU called twice, and the sum in place."""

    def __init__(self, width_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential(nn.Conv2d(width_in, width, 1, stride), nn.BatchNorm2d(width))
        if stride == 1:
            self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # Registered in another order than executed.
        self.fc = nn.Linear(8, 3)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.layer2 = nn.Sequential(Block(4, 8, 2))
        self.layer1 = nn.Sequential(Block(4, 4), Block(4, 4))
        self.stem = nn.Sequential(*units(3, 4), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.layer2(self.layer1(self.stem(x)))).flatten(1))


class Encoder(nn.Module):
    """Tokens in, one hidden state per token out, with an attention mask that must arrive."""

    def __init__(self, width: int = 8, batch_first: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, width)
        self.position = nn.Embedding(16, width)
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, 2, 12, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=batch_first)
        self.batch_first = batch_first

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        x = self.norm(self.embed(input_ids) + self.position(positions))
        padding = None if attention_mask is None else attention_mask == 0
        if not self.batch_first:
            x = x.transpose(0, 1)
        return {"last_hidden_state": self.encoder(x, src_key_padding_mask=padding)}


def token_batch(items: int = 4, tokens: int = 6, left: bool = False) -> dict[str, Tensor]:
    """Ids with padding of different lengths; the last item has no padding."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 20, (items, tokens), generator=generator)
    mask = (torch.arange(tokens) < torch.arange(tokens - items + 1, tokens + 1)[:, None]).long()
    mask = mask.flip(1) if left else mask
    return {"input_ids": ids * mask, "attention_mask": mask}
