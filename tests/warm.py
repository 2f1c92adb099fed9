"""What the server of jobs.py does once, so that no process forked from it has to: imports, and what transformers works
out when it loads its first model. It computes no tensor, as the threads for that do not survive a fork."""

import torch.distributed.optim  # noqa: F401
import transformers.models.gpt2.modeling_gpt2
import transformers.models.llama.modeling_llama  # noqa: F401
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

import burnish.cli.methods  # noqa: F401

get_checkpoint_conversion_mapping("gpt2")
