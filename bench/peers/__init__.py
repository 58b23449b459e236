"""The same job done with other tools: read the bench's records, score them with the same ONNX model, write receipts."""
