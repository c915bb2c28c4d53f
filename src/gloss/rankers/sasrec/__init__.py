"""SASRec: a small causal transformer over items."""
