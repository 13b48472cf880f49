"""The pure centre: no network, no disk, no clock. Imports nothing else of safemt."""
