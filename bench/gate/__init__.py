"""What `bench.gate_policies` is made of: worlds in which models are trained, and policies that promote them."""
