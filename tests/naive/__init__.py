"""Rules as they were first written, one record at a time in plain Python: what faster code is held against."""
