"""Data: from files of purchases to a catalogue, histories and splits."""
