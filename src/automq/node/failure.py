"""Why a node gave up."""


class NodeFailure(Exception):
    """One line for the operator: what, where, what to do. `status` is the exit status."""

    def __init__(self, text: str, *, status: int = 1) -> None:
        super().__init__(text)
        self.status = status
