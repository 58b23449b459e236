"""What was decided of models: catalog, policies, evidence, and the records that decide."""
