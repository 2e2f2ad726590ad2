"""Makes a text encoder without a download: BERT's architecture, small and untrained."""

from __future__ import annotations

import string
from pathlib import Path

SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'.?,-')


def make_bert(folder: Path) -> str:
    """Writes encoder and tokenizer, which splits words into letters, and returns the folder.

    Args:
        folder: Where to write.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    letters = string.ascii_lowercase + string.digits
    vocabulary = [*SPECIAL, *letters, *(f'##{letter}' for letter in letters)]
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
