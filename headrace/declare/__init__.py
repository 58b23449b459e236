"""What a user writes: the pipeline and what it is declared with."""
