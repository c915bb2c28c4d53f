"""Decoding of Llama-like models on a CPU."""
