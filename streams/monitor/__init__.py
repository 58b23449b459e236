"""features and outcomes -> metrics and triggers: drift against the baseline a model carries, error once labels come."""
