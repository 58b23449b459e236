"""Gates on candidates, orders from people, and activation: markers and their record in one transaction."""
