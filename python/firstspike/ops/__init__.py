"""The fused kernels as torch operators (`torch.library`): schema, fake kernel, gradient and implementations, one file a subject."""
