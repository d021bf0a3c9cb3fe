"""The version that workers tell of themselves."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("pointsman")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0+unknown"
