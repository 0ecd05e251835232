"""Entities, parameters, orders and errors: plain frozen values.

Rule 1: nothing here does I/O, reads a clock or draws a random number.
Rule 2: nothing here imports another room.
"""
