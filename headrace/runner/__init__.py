"""Processors put together and run: the table of processors, the supervisor."""
