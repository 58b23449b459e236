"""Dashboards of the search engine: declared once, as Kibana's saved objects and as the requests these make."""
