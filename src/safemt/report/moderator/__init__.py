"""What moderators are worth: figures, a document, tables and a page."""
