"""The fast paths: Llama-like models on a CUDA device or on a CPU, slots that refill."""
