"""Tests of small networks have one thread: more would wait for one another."""

import torch

torch.set_num_threads(1)
