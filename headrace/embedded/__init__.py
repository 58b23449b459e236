"""A real Kafka and schema registry as child processes: Java and its jars from packages, no container."""
