"""Qwen2 and 2.5 (Yang et al. 2024, arXiv:2407.10671): Llama, with biases of q, k and v, which Linear adds."""

from . import llama
from .llama import Model

__all__ = ["GGUF", "Model"]

GGUF = llama.GGUF._replace(interleaved=False)
