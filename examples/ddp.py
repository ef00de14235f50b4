"""Data-parallel training in a custom loop: torchrun --nproc-per-node=2 examples/ddp.py

`firstspike train` and `train.fit` do this by themselves under torchrun.
"""

import torch
import torch.distributed as dist
import torch.distributed.nn  # before the group starts: imported after it, by DDP, it would keep the group for good
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from firstspike import data, models

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
digits, test = data.load("digits", train=True), data.load("digits", train=False)
net = models.mlp("64-100-10", input_shape=digits.input_shape, steps=8, generator=torch.Generator().manual_seed(0))
parallel = DistributedDataParallel(net)
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
order = torch.Generator().manual_seed(1)  # the same in every process
for _ in range(5):
    for batch in torch.randperm(len(digits), generator=order).split(64):
        index = batch[rank::world]  # this process's share
        loss = F.cross_entropy(parallel(digits.images[index]), digits.labels[index])
        optimizer.zero_grad()
        loss.backward()  # averages the gradients over the processes
        optimizer.step()
with torch.no_grad():
    right = (net(test.images).argmax(1) == test.labels).float().mean()
if rank == 0:
    print(f"test accuracy {right:.1%}, {world} processes")
del parallel  # holds the group, too, and the group's threads must end before Python does
dist.destroy_process_group()
