from tests.benchmarks.contestant import last_words


def test_who_says_nothing_is_known_by_its_code() -> None:
    assert last_words("  \n", 9) == "ended with code 9"
    assert last_words("Traceback\nOSError: it\n\n", 1) == "OSError: it"
