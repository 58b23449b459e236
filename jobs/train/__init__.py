"""triggers + examples -> models: pinned examples, a split by time, several algorithms, the best one as ONNX."""
