"""Clusters on one machine: gantry local."""
