"""The studio: one local page to look at sessions, label them, watch datasets and runs, and talk to the model."""
