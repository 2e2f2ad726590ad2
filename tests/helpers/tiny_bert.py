"""Makes a text encoder without a download: BERT's architecture, small and untrained."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset

SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'.?,-')


def make_bert(folder: Path, texts: Iterable[str]) -> str:
    """Writes encoder and tokenizer, and returns the folder.

    Args:
        folder: Where to write.
        texts: What must not take too many tokens: other words are split into letters.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    letters = string.ascii_lowercase + string.digits
    words = {word for text in texts for word in text.lower().split() if len(word) > 1}
    parts = [f'##{letter}' for letter in letters]
    vocabulary = [*SPECIAL, *letters, *parts, *sorted(words)]
    (folder / 'vocab.txt').write_text('\n'.join(vocabulary))
    BertTokenizerFast(vocab_file=str(folder / 'vocab.txt')).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def with_own_encoder(config: dict[str, Any], folder: Path) -> None:
    """Gives the config of a Grounding DINO an encoder that is made here, and drops fairscale."""
    text = str(config['train_dataloader'])
    bert = make_bert(folder, CocoDataset.METAINFO['classes'])
    config['train_dataloader'] = ast.literal_eval(text.replace('bert-base-uncased', bert))
    config['model']['language_model']['name'] = bert
    config['model']['encoder']['num_cp'] = 0
