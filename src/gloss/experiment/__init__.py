"""One experiment: its settings, its stages, its folder."""
