"""Stories of people who use paictl."""

import pytest

# It is no module of tests by its name, but its assertions tell as much.
pytest.register_assert_rewrite("tests.story.life")
