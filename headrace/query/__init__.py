"""Read-only views of the log as plain data; the command line, a page or JSON render them."""
