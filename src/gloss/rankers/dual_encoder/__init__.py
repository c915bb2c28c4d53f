"""A sentence encoder trained on what was bought after what."""
