"""Gymnasium environments and what policies do in them."""
