"""The model to and from the bytes of documents."""
