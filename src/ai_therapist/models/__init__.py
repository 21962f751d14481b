"""Every model's one door: messages in; text, label scores or embeddings out."""
