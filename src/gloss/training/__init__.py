"""Training that can be killed: epochs over histories, and checkpoints. Needs torch."""
