"""Rankers: what ranks a catalogue without a language model. One file each, and a tuple of all."""
