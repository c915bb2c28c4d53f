"""Decoding: prompts in, generated titles out."""
