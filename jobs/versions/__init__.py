"""Frozen versions of topics: exact bytes and decoded columns in Parquet, hashed in a tree, kept and shared by DVC."""
