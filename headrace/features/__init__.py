"""The feature engine: windows over the log, exact and at a cost that follows the new rows."""
