"""Dead letters: what they hold, and how their records are put back."""
