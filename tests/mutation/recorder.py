"""Notes which functions of the copy are called, in this process and in those it starts.

It is put where Python looks for ``sitecustomize`` as it starts, for the subprocesses of tests.
"""

import os

SEEN: set[str] = set()


def install() -> None:
    """Note each function of the copy on its first call, in the file that the environment names."""
    from mutmut.mutation import trampoline

    stream = os.open(os.environ["MUTANTS_REACHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(name: str, caller: str | None = None) -> None:
        if name not in SEEN:
            SEEN.add(name)
            os.write(stream, f"{name}\n".encode())

    setattr(trampoline, "record_trampoline_hit", note)  # noqa: B010
    # Not in the environment, where a function that is no part of this would look it up too.
    trampoline._mutant_under_test = "stats"


if __name__ == "sitecustomize" and "MUTANTS_REACHED" in os.environ:
    install()
