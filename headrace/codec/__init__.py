"""Avro to columns and back, with an error code per record."""
