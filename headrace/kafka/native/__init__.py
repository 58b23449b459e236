"""From librdkafka straight into compiled code: no Python object for a record, in or out.

Clients stay those of confluent-kafka, which configure, rebalance, commit and close; beside them, the two calls that
carry records are made on the very library they have loaded.
"""
