"""The disk: content-addressed blobs, action records, the index over them, and where things lie in a workspace."""
