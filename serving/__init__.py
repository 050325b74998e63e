"""A real Triton Inference Server on this machine, without a container: for development."""
