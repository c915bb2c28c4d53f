"""Language models: trained from zero, or loaded. Needs the extra `train` (torch, transformers)."""

from logging import ERROR, getLogger

from transformers.utils import logging

# Our own progress is shown instead; a library draws nothing on its user's terminal.
logging.disable_progress_bar()
# Where it is installed, importing transformers' trainer imports it, and on a CPU it complains that
# a kernel of somebody's hub is not there.
getLogger("bitsandbytes.backends.cpu.ops").setLevel(ERROR)
