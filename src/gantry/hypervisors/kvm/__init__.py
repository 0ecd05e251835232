"""The KVM driver: QEMU processes of their own, driven over QMP.

Only :class:`Kvm` is for the outside; nothing here knows storage or networks.
"""

from gantry.hypervisors.kvm.driver import Kvm

__all__ = ["Kvm"]
