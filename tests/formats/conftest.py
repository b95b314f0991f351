from tests.kernels.conftest import rng  # noqa: F401
