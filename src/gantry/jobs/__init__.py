"""Queue, scheduler, locks, runner, journal."""
