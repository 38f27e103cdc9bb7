"""The native driver: this machine without a container engine."""

from paictl.drivers.native.driver import NativeDriver

__all__ = ["NativeDriver"]
