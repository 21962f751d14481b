"""Talking to a model inside the safety shell."""
