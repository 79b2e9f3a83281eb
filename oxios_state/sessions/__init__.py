"""The sessions of a store: loading, saving, listing, searching and pruning them."""
