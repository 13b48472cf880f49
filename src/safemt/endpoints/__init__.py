"""Calls to chat endpoints."""
