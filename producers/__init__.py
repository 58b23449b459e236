"""Outside -> topic."""
