"""What the calendar refuses, told to the user who wrote it."""


class CalendarError(ValueError):
    """A schedule that cannot be: its message names the field and says what is wrong with it.

    Attributes:
        field: the field as the user spells it, such as `minute`, `timezone` or `end_at`.
        reason: what is wrong with it, and how to mend it where that is known.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"
