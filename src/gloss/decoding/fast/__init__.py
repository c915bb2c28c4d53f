"""The fast path on a CUDA device: Llama-like models, captured decode steps, slots that refill."""
