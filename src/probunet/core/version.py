"""The version of this package: the only place that says it; the build reads it from here."""

VERSION = "0.1.0"
