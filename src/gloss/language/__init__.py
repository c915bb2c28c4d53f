"""Language models: trained from zero, or loaded. Needs the extra `train` (torch, transformers)."""

from transformers.utils import logging

# Our own progress is shown instead; a library draws nothing on its user's terminal.
logging.disable_progress_bar()
