"""The benchmarks behind every figure that is quoted: ratios to a plain passthrough, paired with it in one run."""
