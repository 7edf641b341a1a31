"""An upper bound of the cross-entropy at one point by the logits at another: its energy of finite size."""

from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot


def logit_bound(near: Tensor, far: Tensor, y: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    r"""The cross-entropy of the logits ``near``, extended to ``far`` with the largest curvature it can have.

    $$\ell(h'') \le \ell(h') + \langle p(h') - t,\, D\rangle + \tfrac14|D|^2, \qquad D = h'' - h'$$

    p are the probabilities, t the (smoothed) labels. The Hessian of the cross-entropy in the logits,
    $\mathrm{diag}(p) - pp^\top$, has no eigenvalue above 1/2. Shapes (batch, classes) to (batch,).

    Source: Böhning 1992, "Multinomial logistic regression algorithm", for the Hessian.

    >>> import torch
    >>> near, far, y = torch.zeros(1, 2), torch.tensor([[-1.0, 1.0]]), torch.tensor([0])
    >>> logit_bound(near, far, y)
    tensor([2.1931])
    >>> cross_entropy(far, y)
    tensor(2.1269)
    """
    classes = near.shape[1]
    labels = y if y.is_floating_point() else one_hot(y, classes).to(near.dtype)
    target = (1 - label_smoothing) * labels + label_smoothing / classes
    here = cross_entropy(near, y, reduction="none", label_smoothing=label_smoothing)
    change = far - near
    return here + ((near.softmax(1) - target) * change).sum(1) + change.square().sum(1) / 4
