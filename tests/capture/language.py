"""Small language and image models of Hugging Face with random weights, and tokenizers trained on a few sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SENTENCES = (
    "Two men are sitting on the grass near a very old tree.",
    "A dog runs.",
    "The naïve café-owner said: it's 42 °C!",
    "Children play football in the street while their parents watch.",
    "An old woman reads.",
    "snow",
)

VOCABULARY = 400
WIDTH = 16
SIZES = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "vocab_size": VOCABULARY,
}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def word_pieces() -> Any:
    """As BERT's: lower case, [CLS] before and [SEP] behind, ``##`` inside words."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)


def byte_pairs(vocabulary: int = 300) -> Any:
    """As GPT-2's: bytes, no special tokens around a sentence, and no padding token."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


def bert(**more: Any) -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**{**SIZES, **more})).eval()


def roberta(**more: Any) -> nn.Module:
    from transformers import RobertaConfig, RobertaModel

    return RobertaModel(RobertaConfig(**{**SIZES, **SPECIAL, **more})).eval()


def esm(**more: Any) -> nn.Module:
    from transformers import EsmConfig, EsmModel

    return EsmModel(EsmConfig(**{**SIZES, "pad_token_id": 0, "position_embedding_type": "absolute", **more})).eval()


def gpt2(**more: Any) -> nn.Module:
    from transformers import GPT2Config, GPT2Model

    sizes = {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": VOCABULARY}
    return GPT2Model(GPT2Config(**{**sizes, **SPECIAL, **more})).eval()


def llama(**more: Any) -> nn.Module:
    from transformers import LlamaConfig, LlamaModel

    return LlamaModel(LlamaConfig(**{**SIZES, **SPECIAL, "num_key_value_heads": 1, **more})).eval()


def t5(**more: Any) -> nn.Module:
    from transformers import T5Config, T5Model

    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": VOCABULARY}
    return T5Model(T5Config(**{**sizes, **more})).eval()


def vit(**more: Any) -> nn.Module:
    from transformers import ViTConfig, ViTModel

    sizes = {key: SIZES[key] for key in list(SIZES)[:4]}
    return ViTModel(ViTConfig(**{**sizes, "image_size": 16, "patch_size": 8, **more})).eval()


def resnet(**more: Any) -> nn.Module:
    from transformers import ResNetConfig, ResNetModel

    sizes = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [2, 2], "layer_type": "basic"}
    return ResNetModel(ResNetConfig(**{**sizes, **more})).eval()


EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
DECODERS: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": 2, "n_head": 2},  # the feed-forward network adds the residual stream
    "mpt": {"d_model": WIDTH, "n_layers": 2, "n_heads": 2},  # as does this one
    "phi3": {"num_key_value_heads": 1},  # o_proj is registered before qkv_proj
    "codegen": {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "rotary_dim": 4},  # as is this one
    "mixtral": {"num_key_value_heads": 1, **EXPERTS},  # no linear layer beside attention
    "qwen2_moe": {"num_key_value_heads": 1, "shared_expert_intermediate_size": 24, **EXPERTS},  # Moe in every name
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": WIDTH},  # items and tokens are one axis in the feed-forward network
}


def decoder(kind: str, **more: Any) -> nn.Module:
    """A decoder with some peculiarity in its structure."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(kind, **{**SIZES, **SPECIAL, **DECODERS[kind], **more})
    model: nn.Module = AutoModel.from_config(config)
    return model.eval()


TEXT_MODELS: dict[str, Callable[..., nn.Module]] = {"bert": bert, "gpt2": gpt2, "llama": llama, "t5": t5}


def ids_of(*lengths: int, left: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """A padded batch of random tokens."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    mask = mask.flip(1) if left else mask
    ids = torch.randint(5, 150, mask.shape, generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask}


def saved(folder: Path, model: nn.Module, tokenizer: Any = None) -> Path:
    """A folder as ``save_pretrained`` writes it."""
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder
