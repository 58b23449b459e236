"""A new project: a pipeline that runs, its data, its tests."""
