"""The parts of the benches that run inside the simulator."""
