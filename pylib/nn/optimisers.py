"""torch's optimisers without the import of torch's compiler, two seconds of every start.

Some of their methods import the compiler at their first call, to be marked as not to be compiled;
the mark stands in an attribute of the method. Nothing compiles them here: run.compile compiles the
system.
"""

from __future__ import annotations

import inspect

import torch

for _name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    _method = inspect.unwrap(getattr(torch.optim.Optimizer, _name))
    vars(_method).setdefault("__dynamo_disable", _method)


class AdamW(torch.optim.AdamW):
    """Adam with decoupled weight decay."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class LBFGS(torch.optim.LBFGS):
    """L-BFGS, which takes a closure."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.LBFGS.step))
