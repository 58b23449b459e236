"""The audit: what the platform promises, decided from the topics alone."""
