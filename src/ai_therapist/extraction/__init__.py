"""From a folder of recordings to sessions, turns with roles, and verified clips."""
