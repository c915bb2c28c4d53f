"""Readers: from the files that people have to a log of purchases and the items it names."""
