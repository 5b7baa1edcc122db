"""Errors of code that is a user's (`--import`). Standard library only."""

import traceback

MODULE = "provenet_import_"
"""Begins the names of modules of such code, under which nobody else imports anything."""


def located(error: BaseException) -> str:
    """An error as `FILE, line N: KIND: TEXT`, by the last place in a user's code, if it passed one."""
    frames = traceback.walk_tb(error.__traceback__)
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in frames
        if str(frame.f_globals.get("__name__")).startswith(MODULE)
    ]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        places.append((error.filename, error.lineno))
    text = str(error.msg if isinstance(error, SyntaxError) else error).partition("\n")[0]
    return "".join(f"{file}, line {line}: " for file, line in places[-1:]) + f"{type(error).__name__}: {text}"
