"""What-if: production's own past scored under a candidate, before anyone approves it.

``past`` reads the log and nothing else does; ``rows`` puts a record's two scores and its label side by side; ``report``
draws everything up from such rows; ``screen`` and ``page`` show it. What is on ``features``, ``predictions`` and
``examples`` decides the report, and the candidate's bytes: the candidate need be neither approved nor past its gates.
"""
