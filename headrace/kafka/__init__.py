"""Reading, transactional writing, and the exactly-once loop. ``memory`` is the in-memory twin of ``kafka``."""
