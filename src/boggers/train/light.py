"""Torch's optimisers without its compiler."""

import inspect

import torch


class Light:
    """Comes before an optimiser among a class's bases: what is called then loads no compiler.

    Torch tells its compiler to leave these methods alone, and imports it to say so: 1.1 s before
    the first step of a run that compiles nothing. Optimisers are not compiled here.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class AdamW(Light, torch.optim.AdamW):
    """torch's AdamW; no gradient flows through its steps."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
