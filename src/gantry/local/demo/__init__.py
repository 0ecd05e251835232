"""The demonstration: what a first user would type, typed for them."""
