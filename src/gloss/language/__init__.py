"""Language models: trained from zero, fine-tuned, fetched, loaded. Needs the extra `train` (torch,
transformers)."""
