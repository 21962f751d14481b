"""From recordings of therapy sessions to an annotated multimodal dataset, a tuned model and an honest report."""

__version__ = "0.1.0"
