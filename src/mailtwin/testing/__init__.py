"""Servers, providers, stores and clocks to test against, shipped so that others can use them too: docs/simulator.md."""
