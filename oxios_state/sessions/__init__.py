"""What a store does with sessions: load, save, list, search and prune them."""
