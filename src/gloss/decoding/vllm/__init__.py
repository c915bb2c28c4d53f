"""Titles by vLLM, an engine for language models; needs the extra "vllm", in an environment of its
own."""
