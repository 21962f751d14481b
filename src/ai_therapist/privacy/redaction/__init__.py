"""Takes what identifies people out of what was said: patterns, word lists and context, without a model."""
