"""The whole story of one prediction, from the topics alone."""
