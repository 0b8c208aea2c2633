"""Small sentence-transformers models with drawn weights: real files, made in a second."""

from importlib import import_module
from pathlib import Path
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MARKS = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
WORDS = [*MARKS, *LETTERS, "parcel", *(f"##{letter}" for letter in LETTERS)]


def bert_tokenizer() -> Any:
    transformers: Any = import_module("transformers")
    return transformers.BertTokenizerFast(vocab={word: at for at, word in enumerate(WORDS)})


def build(folder: Path, *, pooling: str = "mean", dense: bool = False, prompt: str = "") -> Path:
    """Save a small BERT with drawn weights as a sentence-transformers model; window 14."""
    parts_of: Any = import_module("sentence_transformers.sentence_transformer.modules")
    transformers: Any = import_module("transformers")
    torch: Any = import_module("torch")

    torch.manual_seed(0)
    plain = folder.parent / f"{folder.name}-plain"
    bert_tokenizer().save_pretrained(plain)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(plain)
    parts = [
        parts_of.Transformer(str(plain), max_seq_length=16),
        parts_of.Pooling(32, pooling_mode=pooling),
        parts_of.Dense(32, 8) if dense else parts_of.Normalize(),
    ]
    library: Any = import_module("sentence_transformers")
    model = library.SentenceTransformer(modules=parts, device="cpu")
    if prompt:
        model.prompts, model.default_prompt_name = {"ask": prompt}, "ask"
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def build_static(folder: Path) -> Path:
    """Save a model of word vectors only, which has no attention mask; d = 16."""
    library: Any = import_module("sentence_transformers")
    parts_of: Any = import_module("sentence_transformers.sentence_transformer.modules")
    part = parts_of.StaticEmbedding(bert_tokenizer().backend_tokenizer, embedding_dim=16)
    model = library.SentenceTransformer(modules=[part], device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    return folder
