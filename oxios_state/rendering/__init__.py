"""Sessions and stores as HTML, text and Markdown."""
