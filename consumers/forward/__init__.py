"""Forwarding to a search engine: every record of a topic as a document that people can look for."""
