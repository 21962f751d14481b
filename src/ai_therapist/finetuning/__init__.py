"""From training examples to a tuned model: a base, cached features of clips, LoRA on the language model."""
