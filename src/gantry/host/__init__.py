"""The only room that runs programs and touches the machine."""
