"""A small Llama trained from zero on histories."""
