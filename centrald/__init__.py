"""The central reservation service: reservations, card keys, receipts, and the ledger of them."""
