"""The suites behind the speed figures, and the same work in other libraries."""
