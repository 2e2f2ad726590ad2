"""FUNCTIONS: how batches get from the workers to the main process."""

from .collate import deeplake_collate

__all__ = ['deeplake_collate']
