"""The front door's rooms: connect, events, follow, decisions."""
