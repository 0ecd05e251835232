"""The Store in an etcd cluster (3.4 or later), over etcd's JSON gateway: for many machines."""

from gantry.store.etcd.access import Access
from gantry.store.etcd.gateway import Patience
from gantry.store.etcd.store import EtcdStore, open_etcd

__all__ = ["Access", "EtcdStore", "Patience", "open_etcd"]
