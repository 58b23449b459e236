"""Documents to Fluentd, over the Fluentd Forward Protocol Specification v1, each message with its ack.

``messages`` makes bytes of documents; ``delivery`` knows which of them were acked; ``preference`` says which receiver
is asked next; ``handshake`` and ``connection`` speak with one receiver; ``route`` puts them together.
"""

from headrace.consumers.forward.fluentd.route import FluentdRoute

__all__ = ["FluentdRoute"]
