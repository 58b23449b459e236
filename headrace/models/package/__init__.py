"""A model as data: package, signature, scan, trial, and its records on the topic."""
