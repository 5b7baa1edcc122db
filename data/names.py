"""Names of files and classes as people are shown them; on disk and in figures they stay as they are."""


def shown(name: object) -> str:
    """A name, a path or a line as text that acts on no terminal or page: escaped as in Python's literals."""
    text = str(name)
    return text if text.isprintable() else "".join(map(_escaped, text))


def lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(map(shown, text.split("\n")))


def cell(text: str) -> str:
    """A name in a CSV file that a spreadsheet does not take for a formula: what begins as one gets an apostrophe."""
    return shown(f"'{text}" if text[:1] in tuple("=+-@'\t\r") else text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # Python's sign for a byte of a file's name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()
