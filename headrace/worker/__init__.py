"""The exactly-once loop and what runs in it."""
