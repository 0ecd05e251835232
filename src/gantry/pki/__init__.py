"""The cluster's own certificate authority, certificates, joining tokens."""
