"""features, predictions and outcomes -> metrics and triggers.

Drift against the baseline a model carries, figures of scores, and of their error once labels come.
"""
