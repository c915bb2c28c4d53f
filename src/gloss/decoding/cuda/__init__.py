"""Decoding of Llama-like models on a CUDA device."""
