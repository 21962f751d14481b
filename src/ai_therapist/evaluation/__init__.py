"""Measures what came out of each stage: extraction and labels against gold, the tuned model beside its baselines."""
