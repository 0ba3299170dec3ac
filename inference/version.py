"""The version of this package: one place for the build, for records, and for page and Modal class to compare."""

VERSION = "0.3.0"
