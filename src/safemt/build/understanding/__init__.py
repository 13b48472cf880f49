"""Understanding a query: what it asks for, its parts, and the act class that it belongs to."""
