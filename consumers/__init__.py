"""Topic -> outside."""
