"""Training that can be killed at any time: one loop, its checkpoint, and tasks on histories."""
