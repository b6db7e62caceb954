"""cocotb benches that hold the emitted Verilog against the golden models."""
