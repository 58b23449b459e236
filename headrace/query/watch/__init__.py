"""A pipeline as it goes, seen from its topics alone: what is written, how far each processor is, which model rules."""
