"""Trust regions: an objective raised as far as a divergence from the old policy allows.

| they have | call |
| --- | --- |
| an objective and a mean KL, as two closures | `TrustRegion(parameters, max_kl).step(...)` |
| log-probabilities of actions, and their advantages | `policy_surrogate`, such an objective |
| rewards and a critic's values | `generalized_advantages` |

The step knows nothing of policies: the objective and the KL are whatever the closures return, of
whatever module the parameters belong to. `kullback.kl_divergence` is exact near equality and can
be differentiated twice there, which is what the step is made from.
"""

from kullback.training.trust_region.advantages import generalized_advantages
from kullback.training.trust_region.optimizer import TrustRegion
from kullback.training.trust_region.outcome import TrustRegionStep
from kullback.training.trust_region.surrogate import policy_surrogate

__all__ = ["TrustRegion", "TrustRegionStep", "generalized_advantages", "policy_surrogate"]
