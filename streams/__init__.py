"""Topic -> topic: one module or folder a processor."""
