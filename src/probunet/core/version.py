"""The version of this package, as it was installed: its build takes it from the tags of the repository."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("probunet")
except PackageNotFoundError:  # a source that nobody installed
    VERSION = "0+unknown"
