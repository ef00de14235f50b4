"""Exchange of nets of windows with the world of quantised nets: ONNX with QuantizeLinear, QONNX, and integer ONNX."""

from .export import to_onnx

__all__ = ["to_onnx"]
