"""Names, addresses and resources that running jobs have taken before the store knows them."""

from __future__ import annotations

from gantry.model.errors import Reason, Rejected
from gantry.model.names import JobId
from gantry.model.snapshot import Claim
from gantry.operations.base import Plan


class Reservations:
    """What each running job's plan holds; in memory, made again from the stored plans."""

    def __init__(self) -> None:
        self._names: dict[str, JobId] = {}
        self._plans: dict[JobId, Plan] = {}
        self._view: tuple[frozenset[str], tuple[Claim, ...]] | None = None

    def take(self, job: JobId, plan: Plan) -> None:
        """Hold what ``plan`` reserves and claims in place of the job's earlier plan, if any.

        Raises Rejected, with nothing changed, where another job holds one of the names.
        """
        for name in plan.reserve:
            owner = self._names.get(name, job)
            if owner != job:
                kind, _, value = name.partition("/")
                raise Rejected(
                    f"the {kind} {value} is being used by job {owner}, which is running",
                    f"wait for job {owner} (gnt-job watch {owner}), or choose another one",
                    reason=Reason.NOT_UNIQUE,
                    object_name=value,
                )
        self.drop(job)
        if plan.reserve or plan.claims:
            self._plans[job] = plan
            self._names.update(dict.fromkeys(plan.reserve, job))
            self._view = None

    def drop(self, job: JobId) -> None:
        """The job's operation is over."""
        plan = self._plans.pop(job, None)
        if plan is not None:
            for name in plan.reserve:
                self._names.pop(name, None)
            self._view = None

    @property
    def view(self) -> tuple[frozenset[str], tuple[Claim, ...]]:
        """All reserved names and all claims; the same objects until something changes."""
        if self._view is None:
            claims = tuple(claim for plan in self._plans.values() for claim in plan.claims)
            self._view = (frozenset(self._names), claims)
        return self._view
