"""The Protocols that operations and jobs see: Store, Agents, Clock, Steps, Queue.

Nothing here knows a driver, a wire or a process.
"""
