"""Observe, plan, execute, commit: where planner, state and stores meet."""
