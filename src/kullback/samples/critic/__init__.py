"""A small network tells P from Q; what it says of draws it has not seen bounds the divergence."""

from kullback.samples.critic.estimate import critic

__all__ = ["critic"]
