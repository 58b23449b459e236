"""Avro schemas of headrace's own records, the records, and the schema registry."""
