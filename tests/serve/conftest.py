import pytest

from tests.served import serving


@pytest.fixture(scope="module")
def running():
    with serving() as one:
        yield one
