"""Adapters on pretrained models."""
