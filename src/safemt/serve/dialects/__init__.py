"""The request formats that the gateway reads: which conversation they hold, and how it answers in them."""
