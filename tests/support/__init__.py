"""What the tests stand on: servers, programs, waiting, budgets. Fixtures are named in tests/conftest.py."""
