"""What workers hold of the log: records in memory to a budget, then on local disk, found by id. No broker in sight.

It is a cache: all of it is made again from the log.
"""
