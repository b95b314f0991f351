"""Mistral (Jiang et al. 2023, arXiv:2310.06825): Llama. Where a layer would see a sliding window, a text ends with it
(kv.CacheShape). GGUF files of it say that they are Llama's."""

from .llama import Model

__all__ = ["Model"]
