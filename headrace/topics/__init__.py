"""A pipeline's topics: the topic table, who may do what, names and codecs."""
