"""The one plugin that the tests need."""

pytest_plugins = ["pytester"]
