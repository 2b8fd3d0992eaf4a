"""The plain template by which a base model that was never taught to chat is shown one.

    a system message, then an empty line
    User: what was said
    Assistant: what was answered
    User: what is said now
    Assistant:

An answer ends where the model lets the other side speak.
"""

from collections.abc import Sequence

STOPS = ("\nUser:", "\nAssistant:")
"""Where an answer ends."""

SPEAKERS = {"user": "User", "assistant": "Assistant"}


def render(turns: Sequence[tuple[str, str]]) -> str:
    """The text of a conversation, (role, content) each, up to where the model is to go on."""
    text = ""
    for role, said in turns:
        if role in SPEAKERS:
            text += f"{SPEAKERS[role]}: {said.strip()}\n"
        else:
            text += f"{said.strip()}\n\n"
    return f"{text}Assistant:"
