"""From annotated sessions to training examples: context, one target, a split that never moves, a folder to load."""
