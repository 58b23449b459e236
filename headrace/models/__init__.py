"""Models as data: packages of chunks and a manifest, ONNX sessions, and the policy that says which model scores."""
